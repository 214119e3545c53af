"""The sensor of a webhook trigger: only its switch, since the API starts the run when the call comes."""

from dagster import SensorDefinition, SensorEvaluationContext, SkipReason

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.dagster_defs.sensors.place import SensorPlace, initial_status
from planasonix_orchestrator.graph.triggers import WebhookTrigger

_SECONDS_BETWEEN_LOOKS = 24 * 3600  # it has nothing to look at


def build_webhook_sensor(trigger: WebhookTrigger, plan: PipelinePlan, _place: SensorPlace) -> SensorDefinition:
    """Return the sensor whose switch the API heeds when the webhook is called."""
    address = f"/api/webhooks/trigger/{trigger.id}"

    def evaluate(_context: SensorEvaluationContext) -> SkipReason:
        return SkipReason(f"Runs start when POST {address} is called; this sensor only switches that on and off.")

    return SensorDefinition(
        name=encode_name(trigger.id),
        job_name=plan.job_name,
        evaluation_fn=evaluate,
        minimum_interval_seconds=_SECONDS_BETWEEN_LOOKS,
        description=f"{trigger.name or trigger.id}: starts the pipeline when {address} is called.",
        default_status=initial_status(trigger),
    )
