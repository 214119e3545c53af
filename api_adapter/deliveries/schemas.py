"""The shapes of outbound webhooks: resources with `attributes` in snake_case, as schedules and triggers have them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api_adapter.pagination import ListMeta
from api_adapter.timestamps import Seconds, Timestamp
from planasonix_orchestrator.contract.webhooks import DeliveryState, RunEvent

EndpointState = Literal["active", "disabled", "gone", "problem"]
MessageId = Annotated[str, Field(examples=["msg_01j8k2m4n5p6q7r8s9t0v1w2x3"])]


class EndpointAttributes(BaseModel):
    """An endpoint as webhooks.yaml has it, and how it is doing."""

    url: str | None = Field(description="Without its query; null where it comes from the environment.")
    url_variable: str | None = Field(description="The environment variable that the url comes from.")
    events: list[RunEvent]
    pipelines: list[str] | None = Field(description="It is told of their runs only; null for all.")
    enabled: bool
    headers: list[str] = Field(description="The names of the headers that are sent along.")
    status: EndpointState = Field(
        description="`disabled`: in webhooks.yaml; `gone`: it answered 410; `problem`: nothing can be sent, see there."
    )
    problem: str | None
    pending: int = Field(description="Deliveries that wait.")
    dead: int = Field(description="Deliveries that were given up.")
    last_delivered_at: Timestamp | None
    created_at: Timestamp = Field(description="Since when it is told of runs.")


class Endpoint(BaseModel):
    """An endpoint."""

    id: str = Field(examples=["ops"])
    type: Literal["webhook_endpoint"] = "webhook_endpoint"
    attributes: EndpointAttributes


class EndpointDetail(BaseModel):
    """One endpoint."""

    data: Endpoint


class EndpointList(BaseModel):
    """All endpoints, by id."""

    data: list[Endpoint]
    meta: ListMeta


class DeliveryAttributes(BaseModel):
    """A message to an endpoint."""

    endpoint_id: str
    event_type: RunEvent | Literal["ping"]
    run_id: str | None = Field(description="Null for a test.")
    pipeline_id: str | None
    status: DeliveryState = Field(
        description="`pending`: waits for its first or next attempt; `delivered`: accepted; `dead`: given up."
    )
    attempt_count: int
    next_attempt_at: Timestamp | None = Field(description="Not before then; only while it is pending.")
    created_at: Timestamp
    finished_at: Timestamp | None
    reason: str | None = Field(description="Why it is dead.")


class Delivery(BaseModel):
    """A delivery; its id is the `webhook-id` of the message."""

    id: MessageId
    type: Literal["webhook_delivery"] = "webhook_delivery"
    attributes: DeliveryAttributes


class DeliveryList(BaseModel):
    """A page of deliveries, newest first."""

    data: list[Delivery]
    meta: ListMeta


class DeliveryAccepted(BaseModel):
    """A delivery that will be sent at once."""

    data: Delivery


class Attempt(BaseModel):
    """One attempt: the status that was answered, or the error."""

    number: int
    started_at: Timestamp
    duration_seconds: Seconds
    status_code: int | None
    error: str | None
    response: str | None = Field(description="The begin of the answer's body, where it was no success.")


class DeliveryDetailAttributes(DeliveryAttributes):
    """A message to an endpoint, in full."""

    payload: dict[str, Any] = Field(description="The body of the message.")
    attempts: list[Attempt] = Field(description="Every attempt, the first one first.")


class DeliveryInFull(BaseModel):
    """A delivery, in full."""

    id: MessageId
    type: Literal["webhook_delivery"] = "webhook_delivery"
    attributes: DeliveryDetailAttributes


class DeliveryDetail(BaseModel):
    """One delivery, with its payload and attempts."""

    data: DeliveryInFull
