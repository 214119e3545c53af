"""The pipeline document as pydantic models: the graph shape that Planasonix exports, plus what runs need.

Source of the shape: `shared/API.md`, section 3. Keys are camelCase; unknown keys are refused so that a
misspelt one never passes silently.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from planasonix_orchestrator.graph.execution import ExecutorDocument, RunLimit
from planasonix_orchestrator.graph.model import DocumentModel, Identifier, PipelineId, VariableName, VariableValue
from planasonix_orchestrator.graph.triggers import TriggerDocument


class Position(DocumentModel):
    """Where the canvas draws a node, in pixels; has no effect on a run."""

    x: float = Field(strict=False)
    y: float = Field(strict=False)


class NodeDocument(DocumentModel):
    """One node of the graph: a source, transform or destination with its config."""

    id: Identifier = Field(description="The node's id, unique in its pipeline (`n_source`).")
    type: Identifier = Field(description="The node type (`source.postgres`), or one of its short ids (`filter`).")
    name: str | None = Field(default=None, description="What the canvas shows instead of the id.")
    description: str | None = None
    config: dict[str, Any] = Field(default_factory=dict, description="The node type's own settings.")
    position: Position | None = None
    retries: int = Field(default=0, ge=0, le=100, description="How often a failed node is tried again.")
    timeout_seconds: float | None = Field(
        default=None, gt=0, strict=False, description="Limit of one attempt, in seconds."
    )


class EdgeDocument(DocumentModel):
    """Rows flow from the `source` node to the `target` node."""

    id: str | None = None
    source: Identifier = Field(
        validation_alias=AliasChoices("source", "from"), description="The id of the node that the rows come from."
    )
    target: Identifier = Field(
        validation_alias=AliasChoices("target", "to"), description="The id of the node that the rows go to."
    )
    source_port: str | None = Field(
        default=None, validation_alias=AliasChoices("sourcePort", "sourceHandle", "fromPort", "source_port")
    )
    target_port: str | None = Field(
        default=None, validation_alias=AliasChoices("targetPort", "targetHandle", "toPort", "target_port")
    )


class VariableDocument(DocumentModel):
    """A value that a run may set and `{{ name }}` inserts into config strings."""

    type: Literal["string", "integer", "number", "boolean", "date", "timestamp"] = "string"
    default: VariableValue = Field(default=None, description="Used when a run sets none; without it a run must.")
    description: str | None = None
    required: bool = Field(default=False, description="A run must set it, even though a default may stand here.")


class ScheduleDocument(DocumentModel):
    """A cron schedule that starts the pipeline."""

    id: Annotated[str, Field(pattern=r"^sch_[A-Za-z0-9_-]+$")]
    name: str | None = Field(default=None, description="What people call it; the id if none is given.")
    cron_expression: str = Field(description="Five fields: minute, hour, day of month, month, day of week.")
    timezone: str = Field(default="UTC", description="An IANA time zone name.")
    enabled: bool = Field(default=True, description="Whether it is on until somebody switches it.")
    overlap: Literal["skip", "queue", "allow"] = Field(
        default="queue", description="What happens when the last run is still going on."
    )
    catch_up: Literal["none", "latest", "all"] = Field(
        default="latest", description="Which fires are made up for that were missed while the scheduler was away."
    )
    catch_up_limit: int = Field(
        default=100, ge=1, le=1000, description="The most that `all` makes up for at once, the newest of them."
    )
    deadline_seconds: float | None = Field(
        default=None, gt=0, strict=False, description="A run that goes on so long after it was due is told as late."
    )
    environment_id: Identifier | None = Field(
        default=None, description="The environment of its runs; the default one if none is given."
    )
    variables: dict[str, VariableValue] = Field(
        default_factory=dict, description="Set for its runs; texts may hold `{{ ds }}` and the other slice variables."
    )


class PipelineDocument(DocumentModel):
    """One pipeline: nodes joined by edges, its variables, and what starts it."""

    id: PipelineId = Field(description="The pipeline's id in the API, unique among all files (`pl_contacts`).")
    name: Identifier = Field(description="What people call it, unique among all files; its Dagster job is named so.")
    description: str | None = None
    status: Literal["draft", "active", "archived"] = "active"
    project_id: str | None = None
    folder_id: str | None = None
    created_at: datetime | None = Field(default=None, strict=False)
    updated_at: datetime | None = Field(default=None, strict=False)
    tags: dict[str, str] = Field(default_factory=dict, description="Shown on the Dagster job and its runs.")
    variables: dict[VariableName, VariableDocument] = Field(
        default_factory=dict, description="What config strings may insert, by name."
    )
    max_concurrent_runs: RunLimit | None = Field(
        default=None, description="How many of its runs go on at once; further ones wait in the queue."
    )
    timeout_seconds: float | None = Field(
        default=None, gt=0, strict=False, description="Limit of a whole run, in seconds, from its start."
    )
    executor: ExecutorDocument | None = Field(default=None, description="How the nodes of its runs are executed.")
    nodes: tuple[NodeDocument, ...] = Field(min_length=1, strict=False, description="At least one.")
    edges: tuple[EdgeDocument, ...] = Field(default=(), strict=False, description="Which node reads from which.")
    schedules: tuple[ScheduleDocument, ...] = Field(default=(), strict=False, description="When it starts.")
    triggers: tuple[TriggerDocument, ...] = Field(default=(), strict=False, description="What else starts it.")
