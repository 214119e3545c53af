"""The shapes of what is asked of runs, and of the answers. Source: the product's API reference (the seed)."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api_adapter.addresses import NO_NUL
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


TriggerKind = Literal["schedule", "manual", "api", "webhook", "sensor", "schedule_manual", "backfill", "retry"]


class CancelManyRequest(Model):
    """Which runs to cancel: those that meet all that is said, of which there must be something."""

    model_config = ConfigDict(extra="forbid")

    pipeline_id: str | None = Field(default=None, pattern=NO_NUL, max_length=500, description="Runs of this pipeline.")
    status: list[Literal["queued", "running"]] | None = Field(
        default=None, min_length=1, max_length=2, description="Runs in these states; by default in both."
    )
    trigger: list[TriggerKind] | None = Field(
        default=None, min_length=1, max_length=8, description="Runs that these have started."
    )
    date_range: str | None = Field(
        default=None,
        max_length=200,
        description="Runs that started (while queued: were created) in this range, as in the list of runs.",
        examples=["2025-03-01..2025-03-31"],
    )
    start: str | None = Field(default=None, alias="from", max_length=100, description="Begin of the range.")
    end: str | None = Field(default=None, alias="to", max_length=100, description="End of the range.")
    dry_run: bool = Field(default=False, description="Only tell which runs these are.")
    limit: int = Field(default=100, ge=1, le=1000, strict=True, description="The most to cancel, the newest first.")


class CanceledRun(Model):
    """A run that was found, and what has become of the wish to cancel it: of a dry run, the state that it is in."""

    id: RunId
    status: Literal["cancel_requested", "queued", "running", "succeeded", "failed", "canceled"] = Field(
        description="`cancel_requested`, or how the run has ended meanwhile; `queued` or `running` in a dry run."
    )


class CancelManyMeta(Model):
    """How many runs of that kind there are, also beyond the limit, and of how many a cancel was asked for."""

    matched: int
    requested: int
    dry_run: bool


class CancelManyAnswer(Model):
    """What has become of a wish to cancel many runs."""

    data: list[CanceledRun]
    meta: CancelManyMeta
