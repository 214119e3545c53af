"""The shapes of what is asked of runs, and of the answers. Source: the product's API reference (the seed)."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api_adapter.runs.schemas import Model, RunId
from api_adapter.storage import RunStatus
from api_adapter.timestamps import Timestamp

VariableValue = str | int | float | bool | None
NodeId = Annotated[str, Field(max_length=200)]


class RunRequest(Model):
    """How to run a pipeline."""

    model_config = ConfigDict(extra="forbid")

    variables: dict[str, VariableValue] = Field(default={}, description="Values for the pipeline's variables.")
    environment_id: str | None = Field(
        default=None,
        max_length=200,
        pattern=r"^[^\x00]+$",
        description="The environment whose connections and variables count; by default the one that environments.yaml "
        "says.",
    )
    nodes: list[NodeId] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Only these nodes, and what they need upstream; all of them by default.",
    )
    priority: int | None = Field(
        default=None,
        ge=-1_000_000,
        le=1_000_000,
        strict=True,
        description="Of the runs that wait, those of a higher priority start first; 0 by default.",
    )


class RunAccepted(Model):
    """A run that was put into the queue. `status` is where it has come since, for who asks again or has waited."""

    run_id: RunId
    pipeline_id: str
    status: RunStatus = Field(examples=["queued"])
    queued_at: Timestamp


class RetryRequest(Model):
    """How to retry a run."""

    model_config = ConfigDict(extra="forbid")

    from_failure: bool = Field(
        default=True,
        description="Run only what the run has left undone: its failed, canceled and skipped nodes and those that "
        "never started. `false` runs all that it was to run.",
    )


class CancelAnswer(Model):
    """What becomes of a wish to cancel."""

    id: RunId
    status: Literal["cancel_requested", "canceled"]
    message: str
