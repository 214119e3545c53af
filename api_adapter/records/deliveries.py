"""Outbound webhooks as the notifier keeps them: its endpoints, deliveries and attempts. It makes the tables.

Until it has, there are none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from api_adapter.records.database import Database
from planasonix_orchestrator.contract.webhooks import DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """An endpoint of webhooks.yaml; `definition` is what stands there, in camelCase, secrets by name only."""

    id: str
    definition: Mapping[str, Any]
    since: datetime
    problem: str | None
    gone_at: datetime | None
    pending: int
    dead: int
    last_delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDelivery:
    """A message to an endpoint; `run_id` is Dagster's. Of a test, run and pipeline are None."""

    number: int
    id: str
    endpoint_id: str
    event_type: str
    run_id: str | None
    pipeline_id: str | None
    body: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    due_at: datetime
    ended_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAttempt:
    """One attempt to deliver a message."""

    number: int
    started_at: datetime
    duration_seconds: float
    status_code: int | None
    error: str | None
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries: `pipelines` are the only ones whose runs are seen, None for all, and for tests."""

    endpoint_id: str | None = None
    run_id: str | None = None
    state: DeliveryState | None = None
    pipelines: frozenset[str] | None = None

    @property
    def scope(self) -> tuple[object, ...]:
        """What a cursor of the list is bound to."""
        pipelines = None if self.pipelines is None else tuple(sorted(self.pipelines))
        return ("deliveries", self.endpoint_id, self.run_id, self.state, pipelines)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryGauges:
    """How many deliveries wait, since when the oldest of them, and how many were given up."""

    pending: int = 0
    dead: int = 0
    oldest_pending_at: datetime | None = None


class Deliveries:
    """The notifier's record. `UnavailableError` if the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_endpoints(self) -> Sequence[WebhookEndpoint]:
        """Return the endpoints that there are, by id."""
        if not self._are_there():
            return []
        return [WebhookEndpoint(**row._mapping) for row in self._database.read(_ENDPOINTS, {"id": None})]

    def find_endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return an endpoint; None if there is none of this id."""
        rows = self._database.read(_ENDPOINTS, {"id": endpoint_id}) if self._are_there() else ()
        return WebhookEndpoint(**rows[0]._mapping) if rows else None

    def list_deliveries(
        self, filter_by: DeliveryFilter, *, limit: int, below: int | None = None
    ) -> Sequence[WebhookDelivery]:
        """Return at most `limit` deliveries, the newest first, older than the one with the number `below`."""
        if not self._are_there():
            return []
        asked = {
            "endpoint_id = %(endpoint_id)s": filter_by.endpoint_id,
            "run_id = %(run_id)s": filter_by.run_id,
            "state = %(state)s": filter_by.state,
            "pipeline_id = ANY(%(pipelines)s)": None if filter_by.pipelines is None else sorted(filter_by.pipelines),
            "number < %(below)s": below,
        }
        wanted = " AND ".join(["true", *(condition for condition, value in asked.items() if value is not None)])
        values = dict(zip(("endpoint_id", "run_id", "state", "pipelines", "below"), asked.values(), strict=True))
        statement = f"{_DELIVERIES} WHERE {wanted} ORDER BY number DESC LIMIT %(limit)s"
        return [WebhookDelivery(**row._mapping) for row in self._database.read(statement, {**values, "limit": limit})]

    def find_delivery(self, delivery_id: str) -> tuple[WebhookDelivery, Sequence[WebhookAttempt]] | None:
        """Return a delivery and its attempts, the first one first; None if there is none of this id."""
        rows = self._database.read(f"{_DELIVERIES} WHERE id = %(id)s", {"id": delivery_id}) if self._are_there() else ()
        if not rows:
            return None
        delivery = WebhookDelivery(**rows[0]._mapping)
        attempts = self._database.read(_ATTEMPTS, {"delivery": delivery.number})
        return delivery, [WebhookAttempt(**row._mapping) for row in attempts]

    def send_again(self, number: int, *, at: datetime) -> None:
        """Have a delivery sent at once, whatever has become of it, with as many attempts as a new one."""
        self._database.write(_SEND_AGAIN, {"number": number, "at": at})

    def add_test(self, delivery_id: str, *, endpoint_id: str, event_type: str, body: str, at: datetime) -> None:
        """Have an endpoint sent a message that is of no run."""
        values = {"id": delivery_id, "endpoint": endpoint_id, "type": event_type, "body": body, "at": at}
        self._database.write(_ADD_TEST, values)

    def gauges(self) -> DeliveryGauges:
        """Return how many deliveries wait and are dead."""
        if not self._are_there():
            return DeliveryGauges()
        (row,) = self._database.read(_GAUGES)
        return DeliveryGauges(**row._mapping)

    def _are_there(self) -> bool:
        ((there,),) = self._database.read("SELECT to_regclass('planasonix.webhook_attempts') IS NOT NULL")
        return bool(there)


_ENDPOINTS = """
SELECT id, definition, since, problem, disabled_at AS gone_at,
       coalesce(counts.pending, 0) AS pending, coalesce(counts.dead, 0) AS dead,
       (SELECT ended_at FROM planasonix.webhook_deliveries AS last
        WHERE last.endpoint_id = endpoint.id AND last.state = 'delivered' ORDER BY number DESC LIMIT 1)
       AS last_delivered_at
FROM planasonix.webhook_endpoints AS endpoint
LEFT JOIN (
    SELECT endpoint_id, count(*) FILTER (WHERE state = 'pending') AS pending,
           count(*) FILTER (WHERE state = 'dead') AS dead
    FROM planasonix.webhook_deliveries WHERE state = 'pending' OR state = 'dead' GROUP BY endpoint_id
) AS counts ON counts.endpoint_id = endpoint.id
WHERE present AND (%(id)s::text IS NULL OR id = %(id)s) ORDER BY id"""
_DELIVERIES = """
SELECT number, id, endpoint_id, event_type, run_id, pipeline_id, body, state, attempts, created_at, due_at, ended_at,
       reason
FROM planasonix.webhook_deliveries"""
_ATTEMPTS = """
SELECT number, started_at, duration_seconds, status_code, error, answer
FROM planasonix.webhook_attempts WHERE delivery = %(delivery)s ORDER BY number"""
_SEND_AGAIN = text(
    "UPDATE planasonix.webhook_deliveries"
    " SET state = 'pending', tries = 0, due_at = :at, ended_at = NULL, reason = NULL WHERE number = :number"
)
_ADD_TEST = text(
    "INSERT INTO planasonix.webhook_deliveries (id, endpoint_id, event_type, body, created_at, due_at)"
    " VALUES (:id, :endpoint, :type, :body, :at, :at)"
)
_GAUGES = """
SELECT count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'dead') AS dead,
       min(created_at) FILTER (WHERE state = 'pending') AS oldest_pending_at
FROM planasonix.webhook_deliveries WHERE state = 'pending' OR state = 'dead'"""
