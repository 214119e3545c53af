"""The routes of outbound webhooks."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response, status

from api_adapter.addresses import NO_NUL
from api_adapter.auth import GuardedRoute, Principal, Scope, requires
from api_adapter.deliveries import service
from api_adapter.deliveries.schemas import (
    DeliveryAccepted,
    DeliveryDetail,
    DeliveryList,
    EndpointDetail,
    EndpointList,
)
from api_adapter.dependencies import ServicesDependency
from api_adapter.pagination import DEFAULT_LIMIT, Cursor, Limit
from api_adapter.responses import ALWAYS, DEFAULT, declare, json_response
from planasonix_orchestrator.contract.webhooks import DeliveryState

router = APIRouter(
    prefix="/api/webhooks", route_class=GuardedRoute, tags=["webhooks"], responses={**declare(*ALWAYS), **DEFAULT}
)

Reader = Annotated[Principal, requires(Scope.PIPELINES_READ)]
# Endpoints are of the whole organization, and their addresses are nobody else's business.
Overseer = Annotated[Principal, requires(Scope.PIPELINES_READ, every_pipeline=True)]
Redeliverer = Annotated[Principal, requires(Scope.PIPELINES_WRITE, action="webhook.redeliver")]
Tester = Annotated[Principal, requires(Scope.PIPELINES_WRITE, every_pipeline=True, action="webhook.test")]
EndpointIdPath = Annotated[
    str, Path(alias="id", description="Endpoint id.", pattern=NO_NUL, max_length=100, examples=["ops"])
]
DeliveryIdPath = Annotated[
    str,
    Path(
        alias="id",
        description="Delivery id, which is the message's `webhook-id`.",
        pattern=NO_NUL,
        max_length=200,
        examples=["msg_01j8k2m4n5p6q7r8s9t0v1w2x3"],
    ),
]
_ACCEPTED: dict[str, Any] = {
    "headers": {"Location": {"description": "Where the delivery can be read.", "schema": {"type": "string"}}},
    "description": "It will be sent at once.",
}
_UNUSABLE = "Nothing can be sent to the endpoint as it is; `details` say why."


@router.get("/endpoints", operation_id="listWebhookEndpoints", response_model=EndpointList)
def list_endpoints(services: ServicesDependency, *, _principal: Overseer) -> Response:
    """List the endpoints that are told of runs, as `webhooks.yaml` has them, and how each is doing."""
    return json_response(service.list_endpoints(services))


@router.get("/endpoints/{id}", operation_id="getWebhookEndpoint", response_model=EndpointDetail, responses=declare(404))
def get_endpoint(services: ServicesDependency, *, _principal: Overseer, endpoint_id: EndpointIdPath) -> Response:
    """Return an endpoint: what it is told of, and how it is doing."""
    return json_response(service.read_endpoint(services, endpoint_id=endpoint_id))


@router.post(
    "/endpoints/{id}/test",
    operation_id="testWebhookEndpoint",
    response_model=DeliveryAccepted,
    status_code=status.HTTP_202_ACCEPTED,
    responses={**declare(404, 409, s409=_UNUSABLE), 202: _ACCEPTED},
)
def send_test(services: ServicesDependency, *, _principal: Tester, endpoint_id: EndpointIdPath) -> Response:
    """Send a signed message of the type `ping`, once; the delivery tells what came of it."""
    return _accepted(service.send_test(services, endpoint_id=endpoint_id))


@router.get("/deliveries", operation_id="listWebhookDeliveries", response_model=DeliveryList)
def list_deliveries(
    services: ServicesDependency,
    *,
    principal: Reader,
    endpoint_id: Annotated[
        str | None,
        Query(alias="endpoint", pattern=NO_NUL, max_length=100, description="Only those to this endpoint."),
    ] = None,
    run_id: Annotated[
        str | None, Query(pattern=NO_NUL, max_length=500, description="Only those that tell of this run.")
    ] = None,
    state: Annotated[DeliveryState | None, Query(alias="status", description="Only those in this state.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List what was sent and is to be sent, newest first; of the last 30 days, and what still waits."""
    return json_response(
        service.list_deliveries(
            services,
            principal=principal,
            endpoint_id=endpoint_id,
            run_id=run_id,
            status=state,
            limit=limit,
            cursor=cursor,
        )
    )


@router.get(
    "/deliveries/{id}", operation_id="getWebhookDelivery", response_model=DeliveryDetail, responses=declare(404)
)
def get_delivery(services: ServicesDependency, *, principal: Reader, delivery_id: DeliveryIdPath) -> Response:
    """Return a delivery: its payload, and every attempt with its time, status and error."""
    return json_response(service.read_delivery(services, principal=principal, delivery_id=delivery_id))


@router.post(
    "/deliveries/{id}/redeliver",
    operation_id="redeliverWebhook",
    response_model=DeliveryAccepted,
    status_code=status.HTTP_202_ACCEPTED,
    responses={**declare(404, 409, s409=_UNUSABLE), 202: _ACCEPTED},
)
def redeliver(services: ServicesDependency, *, principal: Redeliverer, delivery_id: DeliveryIdPath) -> Response:
    """Send a message again, at once and with the same id, whether it is dead, was delivered, or waits."""
    return _accepted(service.redeliver(services, principal=principal, delivery_id=delivery_id))


def _accepted(answer: DeliveryAccepted) -> Response:
    headers = {"Location": f"/api/webhooks/deliveries/{answer.data.id}"}
    return json_response(answer, status=status.HTTP_202_ACCEPTED, headers=headers)
