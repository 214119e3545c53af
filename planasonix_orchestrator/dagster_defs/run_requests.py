"""What a schedule or a sensor asks Dagster to run: the same config and tags that the API gives to a run."""

from collections.abc import Mapping

from dagster import RunRequest

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.metadata import ENVIRONMENT_KEY, PIPELINE_RESOURCE, VARIABLES_RESOURCE
from planasonix_orchestrator.contract.pipelines import PublishedEnvironments
from planasonix_orchestrator.contract.resolution import choose_environment
from planasonix_orchestrator.contract.values import VariableValue
from planasonix_orchestrator.dagster_defs.jobs import default_run_config
from planasonix_orchestrator.dagster_defs.variables import read_variables


def request_run(
    plan: PipelinePlan,
    *,
    environments: PublishedEnvironments,
    variables: Mapping[str, VariableValue],
    environment_id: str | None,
    run_key: str,
    tags: Mapping[str, str],
) -> RunRequest:
    """Return the request for a run of a plan. Dagster makes one run of it, however often it asks with this `run_key`.

    What the run resolves is in its config, so that it stays visible. `tags` say what started it.
    `RunVariableError` or `EnvironmentUnavailableError` if such a run could not start.
    """
    environment = choose_environment(environments, named=environment_id)
    resolved = read_variables(plan, given=variables, environment=environment, environments=environments)
    config = default_run_config(plan, environments=environments)
    if resolved.values:
        config["resources"][VARIABLES_RESOURCE] = {"config": dict(resolved.values)}
    placed = {}
    if environment is not None:
        config["resources"][PIPELINE_RESOURCE] = {"config": {ENVIRONMENT_KEY: environment["id"]}}
        placed = {tag_names.ENVIRONMENT_ID: environment["id"]}
    return RunRequest(run_key=run_key, job_name=plan.job_name, run_config=config, tags={**placed, **tags})
