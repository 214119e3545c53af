"""The shapes of the runs resource. Source: the Runs page of the product's API reference (the seed)."""

from typing import Annotated, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from api_adapter.pagination import PageMeta
from api_adapter.storage import LogLevel, NodeStatus, RunStatus
from api_adapter.timestamps import Seconds, Timestamp

RunId = Annotated[str, Field(examples=["run_01j8k2m4n5p6q7r8s9t0v1w2x3"])]


class Model(BaseModel):
    """Base of the shapes: camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class RunSummary(Model):
    """A run in a list."""

    id: RunId
    pipeline_id: str
    status: RunStatus
    trigger: str = Field(examples=["schedule"])
    started_at: Timestamp | None
    finished_at: Timestamp | None
    duration_seconds: Seconds | None = Field(description="From start to end; so far, while the run goes on.")


class RunList(Model):
    """A page of runs, newest first."""

    data: list[RunSummary]
    meta: PageMeta


class Trigger(TypedDict):
    """What started a run: its kind, and what of that kind it was."""

    type: str
    scheduleId: NotRequired[str]
    sensor: NotRequired[str]
    backfillId: NotRequired[str]
    parentRunId: NotRequired[str]


class RunMetrics(Model):
    """Sums over the run's nodes, live while it goes on."""

    rows_read: int = Field(description="Rows that left the sources.")
    rows_written: int = Field(description="Rows that went into the destinations.")
    bytes_read: int = Field(description="Bytes that sources read from outside.")
    bytes_written: int = Field(description="Bytes that destinations wrote.")
    bytes_shuffled: int = Field(description="Bytes materialised between nodes.")


class RunError(Model):
    """Why a run failed: the message of the first node that did."""

    message: str
    node_id: str | None


class RunDetail(Model):
    """A run, in full."""

    id: RunId
    pipeline_id: str
    pipeline_name: str
    pipeline_version: str | None = Field(description="Content hash of the pipeline document that ran.")
    environment_id: str | None
    status: RunStatus
    trigger: Trigger
    queued_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    duration_seconds: Seconds | None
    metrics: RunMetrics
    error: RunError | None = Field(description="Only of a failed run.")


class NodeMetrics(TypedDict):
    """A node's figures; absent where it has no such figure."""

    rowsIn: NotRequired[int]
    rowsOut: NotRequired[int]
    bytesRead: NotRequired[int]
    bytesWritten: NotRequired[int]
    bytesShuffled: NotRequired[int]


class NodeError(Model):
    """Why a node failed."""

    message: str


class RunNode(Model):
    """A node of a run."""

    node_id: str
    type: str = Field(examples=["source.postgres"])
    status: NodeStatus = Field(
        description="`pending` waits for nodes before it, `queued` for capacity or another attempt; `skipped` was "
        "never started because the run ended or a node before it failed; `canceled` was stopped by a cancellation."
    )
    started_at: Timestamp | None
    finished_at: Timestamp | None
    duration_seconds: Seconds | None
    retries: int = Field(description="Attempts after the first.")
    metrics: NodeMetrics
    error: NodeError | None


class RunNodes(Model):
    """Every node of the run's graph, in topological order, those that never started too."""

    run_id: RunId
    nodes: list[RunNode]


class RunLogLine(Model):
    """A line of a run's log; without a node it concerns the run as a whole."""

    ts: Timestamp
    level: LogLevel
    node_id: str | None
    message: str


class RunLogs(Model):
    """Lines, oldest first. `nextCursor` goes on behind them; null once the run has ended and all is told."""

    run_id: RunId
    lines: list[RunLogLine]
    next_cursor: str | None = Field(examples=["crs_01j8k2m4n5p6q7r8s9t0v1w2x3_0042"])


class CancelAnswer(Model):
    """What becomes of a wish to cancel."""

    id: RunId
    status: Literal["cancel_requested", "canceled"]
    message: str
