"""The shapes of the backfills resource."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from api_adapter.addresses import NO_NUL
from api_adapter.pagination import PageMeta
from api_adapter.runs.schemas import Model, RunId
from api_adapter.storage import RunStatus
from api_adapter.timestamps import Timestamp

MOST_SLICES = 1000

BackfillId = Annotated[str, Field(examples=["bkf_01j8k2m4n5p6q7r8s9t0v1w2x3"])]
BackfillStatus = Literal["running", "succeeded", "failed", "canceled"]
Order = Literal["ascending", "descending"]
VariableValue = str | int | float | bool | None


class BackfillRequest(Model):
    """Which slices of time to run a pipeline for, and how."""

    model_config = ConfigDict(extra="forbid")

    start: str = Field(
        alias="from", max_length=100, description="Begin of the range: a date or a timestamp.", examples=["2025-03-01"]
    )
    end: str = Field(
        alias="to",
        max_length=100,
        description="End of the range, a date (its whole day) or a timestamp: slices begin before it.",
        examples=["2025-03-31"],
    )
    step: str | None = Field(
        default=None,
        max_length=40,
        description="`hour`, `day`, `week`, `month`, `year`, or an ISO 8601 duration of days or hours. `day` if "
        "neither this nor a schedule is named.",
        examples=["day", "PT6H"],
    )
    schedule_id: str | None = Field(
        default=None,
        pattern=NO_NUL,
        max_length=200,
        description="A schedule of the pipeline, at whose fires the slices begin. Its variables and environment count "
        "where the request says nothing.",
    )
    timezone: str | None = Field(
        default=None,
        pattern=NO_NUL,
        max_length=100,
        description="IANA time zone of the bounds and of days: that of the schedule, else UTC.",
        examples=["Europe/Berlin"],
    )
    order: Order = Field(default="ascending", description="Which slices run first: the earliest or the latest.")
    max_concurrent_runs: int | None = Field(
        default=1,
        ge=1,
        le=1000,
        strict=True,
        description="How many slices run at once; null: as many as the queue takes.",
    )
    variables: dict[str, VariableValue] = Field(default={}, description="Values for the pipeline's variables.")
    environment_id: str | None = Field(default=None, max_length=200, pattern=NO_NUL)
    priority: int | None = Field(default=None, ge=-1_000_000, le=1_000_000, strict=True)
    dry_run: bool = Field(default=False, description="Only tell the slices.")


class BackfillProgress(Model):
    """How many slices there are, and how far they have come: each counts as its newest run does."""

    total: int
    done: int = Field(description="Succeeded.")
    failed: int
    canceled: int
    running: int
    remaining: int = Field(description="Neither ended nor running yet.")


class Backfill(Model):
    """A backfill. It is `running` until each slice has ended."""

    id: BackfillId
    pipeline_id: str
    status: BackfillStatus
    progress: BackfillProgress
    start: Timestamp = Field(serialization_alias="from")
    end: Timestamp = Field(serialization_alias="to", description="The first moment after the range.")
    step: str | None
    schedule_id: str | None
    timezone: str
    order: Order
    max_concurrent_runs: int | None
    created_at: Timestamp
    created_by: str


class BackfillList(Model):
    """A page of backfills, newest first."""

    data: list[Backfill]
    meta: PageMeta


class BackfillSlice(Model):
    """A slice and its newest run; a slice that was retried has several `attempts`."""

    scheduled_at: Timestamp
    run_id: RunId
    status: RunStatus
    attempts: int


class SliceList(Model):
    """A page of a backfill's slices, the earliest first."""

    data: list[BackfillSlice]
    meta: PageMeta


class PlannedSlice(Model):
    """A slice that a backfill would run."""

    scheduled_at: Timestamp
    end: Timestamp
    ds: str = Field(description="What `{{ ds }}` is in its run.", examples=["2025-03-01"])


class BackfillPlan(Model):
    """What a backfill would run, in the order in which it would be queued."""

    pipeline_id: str
    total: int
    slices: list[PlannedSlice]


class BackfillAction(Model):
    """What was asked of a backfill's slices, and of how many."""

    id: BackfillId
    status: Literal["cancel_requested", "retry_requested"]
    runs: list[RunId] = Field(description="The runs that are canceled, or the new ones that retry.")
