"""The shapes of the schedules resource, snake_case as the product has them. Source: `shared/API.md`, section 4."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from api_adapter.pagination import ListMeta
from api_adapter.storage import RunStatus
from api_adapter.timestamps import Timestamp

VariableValue = str | int | float | bool | None
ScheduleId = Annotated[str, Field(examples=["sch_01"])]
RunId = Annotated[str, Field(examples=["run_01j8k2m4n5p6q7r8s9t0v1w2x3"])]
LocalTime = Annotated[
    AwareDatetime,
    PlainSerializer(lambda moment: moment.isoformat(timespec="seconds"), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-03-30T03:00:00+02:00"]}),
]


class NextFire(BaseModel):
    """A fire to come: the same moment in UTC and in the schedule's time zone."""

    at: Timestamp
    local: LocalTime


class ScheduleAttributes(BaseModel):
    """What a schedule is."""

    name: str | None
    pipeline_id: str = Field(description="The pipeline that it starts.", examples=["pl_02hqabc"])
    cron_expression: str = Field(examples=["0 2 * * *"])
    timezone: str = Field(examples=["Europe/Berlin"])
    enabled: bool = Field(description="Whether it is on: its switch in Dagster.")
    overlap: Literal["skip", "queue", "allow"]
    catch_up: Literal["none", "latest", "all"]
    catch_up_limit: int
    deadline_seconds: float | None
    environment_id: str | None
    variables: dict[str, VariableValue]
    next_run_at: Timestamp | None = Field(description="The next fire; null while the schedule is off.")
    last_run_at: Timestamp | None = Field(description="When a fire last started a run.")
    created_at: Timestamp | None = Field(description="When the pipeline's document says that it was made.")
    updated_at: Timestamp | None = Field(description="When the pipeline's document was last changed.")


class ScheduleDetailAttributes(ScheduleAttributes):
    """What a schedule is, and with `preview` when it fires."""

    preview: list[NextFire] | None = Field(
        default=None, description="The next fires, whether or not it is on; null unless `preview` asks for them."
    )


class ScheduleResource(BaseModel):
    """A schedule."""

    id: ScheduleId
    type: Literal["schedule"] = "schedule"
    attributes: ScheduleAttributes


class ScheduleDetail(BaseModel):
    """A schedule, in full."""

    id: ScheduleId
    type: Literal["schedule"] = "schedule"
    attributes: ScheduleDetailAttributes


class ScheduleAnswer(BaseModel):
    """One schedule."""

    data: ScheduleDetail


class ScheduleList(BaseModel):
    """A page of schedules, by their ids."""

    data: list[ScheduleResource]
    meta: ListMeta


class ScheduleRunRequest(BaseModel):
    """How to run a schedule now."""

    model_config = ConfigDict(extra="forbid")

    variables: dict[str, VariableValue] = Field(
        default={}, description="Values for the pipeline's variables; they come before the schedule's own."
    )


class ScheduleRunAttributes(BaseModel):
    """The run of a schedule that was put into the queue."""

    pipeline_id: str = Field(examples=["pl_02hqabc"])
    schedule_id: ScheduleId
    status: RunStatus = Field(examples=["queued"])
    trigger: Literal["schedule_manual"] = "schedule_manual"
    created_at: Timestamp


class ScheduleRun(BaseModel):
    """A run of a schedule."""

    id: RunId
    type: Literal["pipeline_run"] = "pipeline_run"
    attributes: ScheduleRunAttributes


class ScheduleRunAnswer(BaseModel):
    """The run that was started."""

    data: ScheduleRun


class FireAttributes(BaseModel):
    """What became of a fire."""

    schedule_id: ScheduleId
    due_at: Timestamp
    status: Literal["started", "skipped", "failed"]
    reason: str | None = Field(
        description="Why it started no run.", examples=["run run_01j8k2m4n5p6q7r8s9t0v1w2x3 has not ended"]
    )
    run_ids: list[RunId]


class FireResource(BaseModel):
    """A fire of a schedule; its id is the moment at which it was due."""

    id: str = Field(examples=["2025-03-27T02:00:00Z"])
    type: Literal["schedule_fire"] = "schedule_fire"
    attributes: FireAttributes


class FireList(BaseModel):
    """A page of fires, newest first."""

    data: list[FireResource]
    meta: ListMeta
