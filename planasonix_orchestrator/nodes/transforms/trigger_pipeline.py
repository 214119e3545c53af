"""transform.trigger_pipeline: starts a run of another pipeline, and passes its rows on."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import Inputs, NodeConfig, NodeContext, Transform
from planasonix_orchestrator.nodes.pipelines import ChildRun, PipelineOrder


class TriggerPipelineConfig(NodeConfig):
    """Config of transform.trigger_pipeline."""

    pipeline_id: Annotated[str, Field(pattern=r"^pl_[A-Za-z0-9_-]+$")]
    """The pipeline; it stands here as it is, without variables."""
    variables: Mapping[str, str | int | float | bool | None] = {}
    """Values of its variables."""
    environment_id: str | None = None
    """The environment of its run; by default that of this one."""
    wait: bool = True
    """Whether to wait for its end."""
    timeout_seconds: float | None = Field(default=None, gt=0)
    """How long to wait; then its run is canceled, and counts as failed."""
    on_failure: Literal["fail", "continue"] = "fail"
    """What this node does when the run that it waits for does not succeed."""


class TriggerPipeline(Transform[TriggerPipelineConfig]):
    """Starts a run of another pipeline, and passes its rows on unchanged.

    The run starts when the rows are there. While this node waits, its run gives its place in the queue to the one that
    it waits for; if this one is canceled or the node is stopped, so is that. Another attempt of the node starts it anew
    only if it has failed or was canceled.
    """

    type_name = "transform.trigger_pipeline"
    aliases = ("trigger_pipeline",)
    title = "Trigger pipeline"
    kinds = ("python",)
    config_model = TriggerPipelineConfig
    keeps_rows = True
    example: ClassVar = {"pipelineId": "pl_report", "variables": {"day": "2025-03-31"}}

    def pipeline_ids(self, config: TriggerPipelineConfig) -> Mapping[str, str]:
        """Return the one pipeline."""
        return {"pipelineId": config.pipeline_id}

    def apply(self, config: TriggerPipelineConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Start the run, wait for it if it is to, and return the rows."""
        order = PipelineOrder(
            node_id=context.node_id,
            pipeline_id=config.pipeline_id,
            variables=config.variables,
            environment_id=config.environment_id,
            wait=config.wait,
            timeout_seconds=config.timeout_seconds,
            again=config.on_failure == "fail",
        )
        child = context.pipelines.run(order, log=context.log)
        if child is not None and config.wait and child.ended_as != "succeeded":
            failure = _failure(child, config=config)
            if config.on_failure == "fail":
                raise failure
            context.log.warning("%s; going on", failure)
        return context.session.define(context.node_id, inputs.one().select("*"))


def _failure(child: ChildRun, *, config: TriggerPipelineConfig) -> NodeError:
    how = {"failed": "failed", "canceled": "was canceled"}.get(
        child.ended_as or "",
        f"took longer than {config.timeout_seconds} s, the node's timeoutSeconds, and was canceled",
    )
    return NodeError(f"run {child.id} of {config.pipeline_id} {how}")
