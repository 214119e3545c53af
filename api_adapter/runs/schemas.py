"""The shapes of the runs resource. Source: the Runs page of the product's API reference (the seed)."""

from datetime import date
from typing import Annotated, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from api_adapter.pagination import PageMeta
from api_adapter.storage import NodeStatus, RunStatus
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

    type: Literal["schedule", "manual", "api", "webhook", "sensor", "schedule_manual", "backfill", "retry"]
    scheduleId: NotRequired[str]
    scheduledAt: NotRequired[Annotated[str, Field(description="When it was due.", examples=["2025-03-27T02:00:00Z"])]]
    triggerId: NotRequired[str]
    sensor: NotRequired[str]
    backfillId: NotRequired[str]
    user: NotRequired[str]
    parentRunId: NotRequired[str]
    upstreamRunId: NotRequired[str]


class RunMetrics(Model):
    """Figures over the run's nodes, live while it goes on: each node counts as soon as it has ended.

    Of a node that has failed, CPU and memory count; of one that was tried again, the last attempt.
    """

    rows_read: int = Field(description="Rows that left the sources.", examples=[2450000])
    rows_written: int = Field(description="Rows that went into the destinations.", examples=[2450000])
    bytes_read: int = Field(description="Bytes that sources read from outside.", examples=[734003200])
    bytes_written: int = Field(description="Bytes that destinations wrote.", examples=[536870912])
    bytes_shuffled: int = Field(description="Bytes materialised between nodes.", examples=[1073741824])
    cpu_seconds: float = Field(description="Seconds of CPU of the run's process while nodes worked.", examples=[184.2])
    peak_memory_bytes: int = Field(
        description="The most memory that the run's process held while nodes worked, the highest of their figures.",
        examples=[3221225472],
    )
    cost_units: float = Field(
        description="Weighted sum of the other metrics; by default one unit is a minute of one core, or 10 GB read, "
        "written or shuffled. The deployment may weigh otherwise.",
        examples=[3.3],
    )


ErrorCode = Literal["node_error", "run_error", "timeout", "out_of_memory", "worker_lost", "policy"]
_CODE_WORDS = (
    "`node_error`: a node could not do its work; `run_error`: the run as a whole could not; `timeout`: a node or the "
    "run took longer than it may; `out_of_memory`: a node needed more memory than there is; `worker_lost`: the run's "
    "process ended without a word, or was told to stop though nobody had canceled the run; `policy`: a rule refused "
    "the data or the run."
)


class RunError(Model):
    """Why a run failed: what the first node that did has said."""

    message: str = Field(examples=["column 'amount' does not exist"])
    node_id: str | None = Field(
        description="The node at fault; null where none is, as when the worker was lost.", examples=["n_transform"]
    )
    code: ErrorCode = Field(description=_CODE_WORDS)
    stack_ref: str | None = Field(
        description="Where the stack can be fetched as text, with the same credential; null where there is none.",
        examples=["/api/runs/run_01j8k2m4n5p6q7r8s9t0v1w2x3/stack?nodeId=n_transform"],
    )


CanceledBy = Literal["user", "system", "superseded"]


class TriggeredRun(Model):
    """A run that another one has caused."""

    id: RunId
    pipeline_id: str = Field(examples=["pl_02hqabd"])


class RunDetail(Model):
    """A run, in full."""

    id: RunId
    pipeline_id: str = Field(examples=["pl_02hqabc"])
    pipeline_name: str = Field(examples=["crm_to_warehouse"])
    pipeline_version: str | None = Field(
        description="Content hash of the pipeline document that ran.", examples=["e715d75845a68b60"]
    )
    environment_id: str | None = Field(examples=[None])
    status: RunStatus
    trigger: Trigger
    queued_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    duration_seconds: Seconds | None
    variables: dict[str, str | int | float | bool | None] = Field(
        description="The variables that the run was given, defaults included; `***` stands for values of variables "
        "whose names speak of secrets.",
        examples=[{"day": "2025-03-27", "api_token": "***"}],
    )
    metrics: RunMetrics
    error: RunError | None = Field(description="Only of a failed run.")
    retry_of: RunId | None = Field(description="The run that this one tries again.")
    cancel_requested_at: Timestamp | None = Field(description="When it was asked that the run be canceled.")
    cancel_requested_by: str | None = Field(description="Who asked: the name of a key or a user.")
    canceled_by: CanceledBy | None = Field(
        description="Only of a canceled run: `user`, `system` (a limit of the deployment), or `superseded` (by a "
        "newer run)."
    )
    triggered_runs: list[TriggeredRun] = Field(
        description="The runs that its end, or one of its nodes, has started, of pipelines that the caller may see.",
        examples=[[]],
    )


class NodeMetrics(TypedDict):
    """A node's figures; absent where it has no such figure."""

    rowsIn: NotRequired[int]
    rowsOut: NotRequired[int]
    bytesRead: NotRequired[int]
    bytesWritten: NotRequired[int]
    bytesShuffled: NotRequired[int]
    cpuSeconds: NotRequired[float]
    peakMemoryBytes: NotRequired[int]


class NodeError(Model):
    """Why a node failed. `nodeId` names the node at fault, where it is another one whose rows this one read."""

    message: str
    code: ErrorCode = Field(description=_CODE_WORDS)
    node_id: str | None


class NodeAttempt(Model):
    """One attempt of a node, counted from 1."""

    attempt: int
    status: NodeStatus
    started_at: Timestamp
    finished_at: Timestamp | None
    duration_seconds: Seconds | None
    error: NodeError | None


class RunNode(Model):
    """A node of a run."""

    node_id: str
    type: str = Field(examples=["source.postgres"])
    status: NodeStatus = Field(
        description="`pending` waits for nodes before it, `queued` for capacity or another attempt; `skipped` was "
        "never started because the run ended or leaves it out, or a node before it failed; `canceled` was stopped by "
        "a cancellation, or never started because of it."
    )
    started_at: Timestamp | None
    finished_at: Timestamp | None
    duration_seconds: Seconds | None
    retries: int = Field(description="Attempts after the first.")
    attempts: list[NodeAttempt] = Field(description="Every attempt, the first one first.")
    metrics: NodeMetrics
    error: NodeError | None
    reused_from: RunId | None = Field(
        description="Only in a retry from failure, of a node that was not run again: the run that had run it, and that "
        "all the rest is told of.",
        examples=[None],
    )


class RunNodes(Model):
    """Every node of the run's graph, in topological order, those that never started too."""

    run_id: RunId
    nodes: list[RunNode]


class Counts(Model):
    """Runs by status."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0


class Day(Model):
    """Runs of one day (UTC) by status; a run belongs to the day of its start, while queued of its creation."""

    day: date = Field(examples=["2025-03-27"])
    by_status: Counts


class Durations(Model):
    """Quantiles of the seconds that succeeded runs took; null where there is none."""

    p50: Seconds | None
    p95: Seconds | None


class RunStats(Model):
    """How runs have gone in a range of time."""

    since: Timestamp | None = Field(alias="from")
    until: Timestamp | None = Field(alias="to", description="Exclusive.")
    total: int
    by_status: Counts
    by_day: list[Day] = Field(description="Days with runs, the oldest first.")
    failure_rate: float | None = Field(description="Failed of those that succeeded or failed, 0 to 1.", examples=[0.05])
    duration_seconds: Durations


class Progress(Model):
    """How many of a run's nodes have come to their end, whichever it was."""

    completed_nodes: int
    total_nodes: int


class ExecutionStatus(Model):
    """The run of a pipeline that is in flight, else its last one; nulls if it has never run."""

    pipeline_id: str
    run_id: RunId | None
    status: RunStatus | None
    progress: Progress
    started_at: Timestamp | None
