"""Tells of endpoints and deliveries in the API's words, and asks the notifier to send."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from api_adapter.addresses import dagster_run_id
from api_adapter.auth import Principal
from api_adapter.deliveries.errors import DeliveryNotFoundError, EndpointNotFoundError, EndpointUnusableError
from api_adapter.deliveries.schemas import (
    Attempt,
    Delivery,
    DeliveryAccepted,
    DeliveryAttributes,
    DeliveryDetail,
    DeliveryDetailAttributes,
    DeliveryInFull,
    DeliveryList,
    Endpoint,
    EndpointAttributes,
    EndpointDetail,
    EndpointList,
    EndpointState,
)
from api_adapter.dependencies import Services
from api_adapter.pagination import ListMeta, ListPage, decode_cursor, encode_cursor
from api_adapter.records import DeliveryFilter, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from planasonix_orchestrator.contract.ids import api_run_id
from planasonix_orchestrator.contract.webhooks import PING, RUN_EVENTS, DeliveryState, message_id, write_body


def list_endpoints(services: Services) -> EndpointList:
    """Return all endpoints."""
    found = [_tell_endpoint(each) for each in services.records.deliveries.list_endpoints()]
    return EndpointList(data=found, meta=ListMeta(page=ListPage(limit=len(found), cursor=None)))


def read_endpoint(services: Services, *, endpoint_id: str) -> EndpointDetail:
    """Return an endpoint; 404 if there is none."""
    return EndpointDetail(data=_tell_endpoint(_find_endpoint(services, endpoint_id)))


def send_test(services: Services, *, endpoint_id: str) -> DeliveryAccepted:
    """Have an endpoint sent a signed message of the type `ping`; 404 if there is none, 409 if it can't be sent to."""
    endpoint = _find_endpoint(services, endpoint_id)
    _check_usable(endpoint, for_test=True)
    at = services.clock()
    id_ = message_id(endpoint_id, PING, str(uuid4()))
    body = write_body(PING, at=at, data={"endpointId": endpoint_id})
    services.records.deliveries.add_test(id_, endpoint_id=endpoint_id, event_type=PING, body=body, at=at)
    delivery, _ = _find_delivery(services, id_)
    return DeliveryAccepted(data=_tell_delivery(delivery))


def list_deliveries(
    services: Services,
    *,
    principal: Principal,
    endpoint_id: str | None,
    run_id: str | None,
    status: DeliveryState | None,
    limit: int,
    cursor: str | None,
) -> DeliveryList:
    """Return a page of the deliveries that the principal may see, the newest first."""
    filter_by = DeliveryFilter(
        endpoint_id=endpoint_id,
        run_id=None if run_id is None else dagster_run_id(run_id),
        state=status,
        pipelines=principal.pipelines,
    )
    below = None if cursor is None else decode_cursor(cursor, scope=filter_by.scope)
    found = services.records.deliveries.list_deliveries(filter_by, limit=limit + 1, below=below)
    page = found[:limit]
    behind = encode_cursor(page[-1].number, scope=filter_by.scope) if len(found) > limit else None
    return DeliveryList(
        data=[_tell_delivery(each) for each in page], meta=ListMeta(page=ListPage(limit=limit, cursor=behind))
    )


def read_delivery(services: Services, *, principal: Principal, delivery_id: str) -> DeliveryDetail:
    """Return a delivery with all attempts; 404 if there is none that the principal may see."""
    delivery, attempts = _find_delivery(services, delivery_id, principal=principal)
    attributes = DeliveryDetailAttributes(
        **_attributes(delivery),
        payload=json.loads(delivery.body),
        attempts=[
            Attempt(
                number=each.number,
                started_at=each.started_at,
                duration_seconds=each.duration_seconds,
                status_code=each.status_code,
                error=each.error,
                response=each.answer,
            )
            for each in attempts
        ],
    )
    return DeliveryDetail(data=DeliveryInFull(id=delivery.id, attributes=attributes))


def redeliver(services: Services, *, principal: Principal, delivery_id: str) -> DeliveryAccepted:
    """Have a delivery sent again, at once; 404 if there is none, 409 if its endpoint can't be sent to."""
    delivery, _ = _find_delivery(services, delivery_id, principal=principal)
    endpoint = services.records.deliveries.find_endpoint(delivery.endpoint_id)
    if endpoint is None:
        raise EndpointUnusableError(delivery.endpoint_id, why="it is no longer in webhooks.yaml")
    _check_usable(endpoint, for_test=delivery.run_id is None)
    services.records.deliveries.send_again(delivery.number, at=services.clock())
    delivery, _ = _find_delivery(services, delivery_id, principal=principal)
    return DeliveryAccepted(data=_tell_delivery(delivery))


def _find_endpoint(services: Services, endpoint_id: str) -> WebhookEndpoint:
    endpoint = services.records.deliveries.find_endpoint(endpoint_id)
    if endpoint is None:
        raise EndpointNotFoundError(endpoint_id)
    return endpoint


def _find_delivery(
    services: Services, delivery_id: str, *, principal: Principal | None = None
) -> tuple[WebhookDelivery, list[WebhookAttempt]]:
    found = services.records.deliveries.find_delivery(delivery_id)
    if found is None or (principal is not None and not principal.may_see(found[0].pipeline_id or "")):
        raise DeliveryNotFoundError(delivery_id)
    delivery, attempts = found
    return delivery, list(attempts)


def _check_usable(endpoint: WebhookEndpoint, *, for_test: bool) -> None:
    state = _state(endpoint)
    if state == "problem":
        raise EndpointUnusableError(endpoint.id, why=str(endpoint.problem))
    if state == "disabled":
        raise EndpointUnusableError(endpoint.id, why="it is not enabled in webhooks.yaml")
    if state == "gone" and not for_test:  # a test that succeeds brings it back
        raise EndpointUnusableError(endpoint.id, why="it answered 410, so test it first")


def _state(endpoint: WebhookEndpoint) -> EndpointState:
    if not endpoint.definition.get("enabled", True):
        return "disabled"
    if endpoint.problem is not None:
        return "problem"
    return "active" if endpoint.gone_at is None else "gone"


def _tell_endpoint(endpoint: WebhookEndpoint) -> Endpoint:
    told = endpoint.definition
    url = told.get("url")
    attributes = EndpointAttributes(
        url=url.partition("?")[0] if isinstance(url, str) else None,
        url_variable=url.get("env") if isinstance(url, dict) else None,
        events=told.get("events", list(RUN_EVENTS)),
        pipelines=told.get("pipelines"),
        enabled=told.get("enabled", True),
        headers=sorted(told.get("headers", {})),
        status=_state(endpoint),
        problem=endpoint.problem,
        pending=endpoint.pending,
        dead=endpoint.dead,
        last_delivered_at=endpoint.last_delivered_at,
        created_at=endpoint.since,
    )
    return Endpoint(id=endpoint.id, attributes=attributes)


def _tell_delivery(delivery: WebhookDelivery) -> Delivery:
    return Delivery(id=delivery.id, attributes=DeliveryAttributes(**_attributes(delivery)))


def _attributes(delivery: WebhookDelivery) -> Mapping[str, Any]:
    return {
        "endpoint_id": delivery.endpoint_id,
        "event_type": delivery.event_type,
        "run_id": api_run_id(delivery.run_id) if delivery.run_id else None,
        "pipeline_id": delivery.pipeline_id,
        "status": delivery.state,
        "attempt_count": delivery.attempts,
        "next_attempt_at": delivery.due_at if delivery.state == "pending" else None,
        "created_at": delivery.created_at,
        "finished_at": delivery.ended_at,
        "reason": delivery.reason,
    }
