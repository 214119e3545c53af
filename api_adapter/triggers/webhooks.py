"""The route that webhooks call: without an API key, with a signature."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from api_adapter.addresses import NO_NUL
from api_adapter.auth import GuardedRoute, Signer, annotate, client_address, guard_of, public
from api_adapter.dependencies import ServicesDependency
from api_adapter.idempotency import replayed_header, tell_replay
from api_adapter.responses import DEFAULT, Responses, declare, json_response
from api_adapter.triggers import ingress
from api_adapter.triggers.errors import SignatureRefusedError
from api_adapter.triggers.payloads import EVENT_ID_HEADER
from api_adapter.triggers.schemas import WebhookReceived
from api_adapter.triggers.signatures import SIGNATURE_HEADER, TIMESTAMP_HEADER

MOST_BYTES = 5 * 1024 * 1024
PREFIX = "/api/webhooks/trigger"
LARGER_BODIES = {f"{PREFIX}/": MOST_BYTES}

router = APIRouter(route_class=GuardedRoute, tags=["triggers"], responses=DEFAULT)

TriggerIdPath = Annotated[
    str, Path(alias="triggerId", description="Trigger id.", pattern=NO_NUL, examples=["trg_orders"], max_length=500)
]
_HEX = "0123456789abcdef" * 4
TimestampHeader = Annotated[
    str | None,
    Header(
        alias=TIMESTAMP_HEADER,
        description="When the call was signed, in unix seconds; at most 300 s ago, and 60 s ahead. Required.",
        examples=["1743040800"],
    ),
]
SignatureHeader = Annotated[
    str | None,
    Header(
        alias=SIGNATURE_HEADER,
        description="`v1=` and the HMAC-SHA256, in lower-case hexadecimal digits, of the timestamp, a dot and the raw "
        "body (of the timestamp alone if the body is empty). Several stand with commas between. Required.",
        examples=[f"v1={_HEX}"],
    ),
]
EventIdHeader = Annotated[
    str | None,
    Header(
        alias=EVENT_ID_HEADER,
        description="The id of the event, where the trigger does not take it from the body. Calls of one id start one "
        "run.",
        examples=["evt_81"],
    ),
]
_RESPONSES: Responses = {
    200: {
        "description": "The run exists.",
        "headers": replayed_header("run", request="call of the same event"),
    },
    **declare(
        *(400, 401, 404, 409, 413, 429, 503),
        s400="The body is not valid JSON, or lacks what the trigger takes from it; `details` name it.",
        s401="The signature is missing, wrong or expired, or made ahead of our clock.",
        s404="There is no webhook of this id.",
        s409="The trigger is disabled; the call was received before; the event's id stands for another one; or the "
        "environment of its runs has problems.",
        s413="The body has more than 5 MiB.",
        s429="The queue is full, or this trigger's budget of calls is used up; try again after `Retry-After`.",
        s503="A part of the service is away, or the webhook's secret is; try again after `Retry-After`.",
    ),
}
_ANY_JSON: dict[str, Any] = {
    "requestBody": {"description": "Any JSON, or nothing.", "content": {"application/json": {"schema": {}}}}
}


@router.post(
    PREFIX + "/{triggerId}",
    operation_id="receiveWebhook",
    response_model=WebhookReceived,
    responses=_RESPONSES,
    dependencies=[public()],
    openapi_extra=_ANY_JSON,
)
async def receive_webhook(
    services: ServicesDependency,
    *,
    request: Request,
    trigger_id: TriggerIdPath,
    timestamp: TimestampHeader = None,
    signature: SignatureHeader = None,
    event_id: EventIdHeader = None,
) -> Response:
    """Start the trigger's pipeline. It takes no API key: the call must be signed with the trigger's secret."""
    call = await run_in_threadpool(
        ingress.open_call, services, trigger_id=trigger_id, timestamp=timestamp, signature=signature
    )
    body = await request.body()  # as large as BodyMiddleware lets it be

    def take() -> ingress.Accepted:
        guard = guard_of(request)
        try:
            call.check(body)
        except SignatureRefusedError:
            guard.count_forgery(request)
            raise
        guard.admit_signed(request, signer=Signer(id=trigger_id), action="trigger.call")
        accepted = ingress.start_run(
            services, call=call, body=body, event_header=event_id, client=client_address(request)
        )
        annotate(request, runId=accepted.run_id, **({"replayed": True} if accepted.replayed else {}))
        return accepted

    accepted = await run_in_threadpool(take)
    return json_response(
        WebhookReceived(pipeline_run_id=accepted.run_id), headers=tell_replay(replayed=accepted.replayed)
    )
