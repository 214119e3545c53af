"""The shapes of the triggers resource, snake_case as the product has them. Source: `shared/API.md`, section 5."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api_adapter.pagination import ListMeta
from api_adapter.storage import RunStatus
from api_adapter.timestamps import Timestamp

TriggerType = Literal["file_watcher", "webhook", "s3", "gcs", "azure", "sql", "upstream"]
TriggerId = Annotated[str, Field(examples=["trg_orders"])]


class TriggerAttributes(BaseModel):
    """What a trigger is."""

    name: str | None
    trigger_type: str = Field(examples=["webhook"])
    pipeline_id: str = Field(description="The pipeline that it starts.", examples=["pl_02hqabc"])
    enabled: bool = Field(description="Whether it starts runs: its switch in Dagster.")
    config: dict[str, Any] = Field(
        description="As in the pipeline's document; of a secret the name of the environment variable."
    )
    created_at: Timestamp | None = Field(description="When the pipeline's document says that it was made.")
    updated_at: Timestamp | None = Field(description="When the pipeline's document was last changed.")


class TriggerResource(BaseModel):
    """A trigger."""

    id: TriggerId
    type: Literal["trigger"] = "trigger"
    attributes: TriggerAttributes


class TriggerAnswer(BaseModel):
    """One trigger."""

    data: TriggerResource


class TriggerList(BaseModel):
    """A page of triggers, by their ids."""

    data: list[TriggerResource]
    meta: ListMeta


class ExecutionAttributes(BaseModel):
    """A run that a trigger has started, and what it had seen; or an evaluation that has failed and started none."""

    trigger_id: TriggerId
    pipeline_run_id: str | None = Field(
        description="Null for an evaluation that has failed.", examples=["run_01j8k2m4n5p6q7r8s9t0v1w2x3"]
    )
    status: RunStatus
    event_summary: str | None = Field(
        description="What was seen; of an evaluation that has failed, why.",
        examples=["312 bytes from 10.0.0.7, event evt_81"],
    )
    started_at: Timestamp = Field(description="When the run was put into the queue, or the evaluation began.")
    finished_at: Timestamp | None = Field(description="When the run, or the evaluation, ended.")


class ExecutionResource(BaseModel):
    """An execution of a trigger."""

    id: str = Field(examples=["tex_01j8k2m4n5p6q7r8s9t0v1w2x3"])
    type: Literal["trigger_execution"] = "trigger_execution"
    attributes: ExecutionAttributes


class ExecutionList(BaseModel):
    """A page of executions, newest first."""

    data: list[ExecutionResource]
    meta: ListMeta


class TriggerTestRequest(BaseModel):
    """A call to try out, of a webhook: what its sender would send."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)
    headers: dict[str, str] | None = Field(
        default=None, max_length=100, description="Its headers; then its signature is checked, as that of a real call."
    )
    body: str | None = Field(
        default=None, description="Its raw body; then it is checked that the event's id and the variables are in it."
    )


class Check(BaseModel):
    """One thing that must be right for the trigger to work."""

    name: Literal["sensor", "switch", "secret", "queue", "signature", "payload", "daemon", "evaluation"]
    ok: bool
    message: str


class TriggerTestAttributes(BaseModel):
    """What was found."""

    trigger_id: TriggerId
    ok: bool = Field(description="Whether every check is.")
    checks: list[Check]
    tested_at: Timestamp


class TriggerTestResource(BaseModel):
    """A test of a trigger."""

    id: TriggerId
    type: Literal["trigger_test"] = "trigger_test"
    attributes: TriggerTestAttributes


class TriggerTestAnswer(BaseModel):
    """What a test of a trigger has found; nothing was started."""

    data: TriggerTestResource


class WebhookReceived(BaseModel):
    """The run that an event has started: it waits in the queue, or has come further since."""

    received: Literal[True] = True
    pipeline_run_id: str = Field(examples=["run_01j8k2m4n5p6q7r8s9t0v1w2x3"])
    status: Literal["accepted"] = "accepted"
