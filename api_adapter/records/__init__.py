"""Our own tables in Dagster's Postgres, schema `planasonix`: keys, audit trail, webhooks; `Records` is the door."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api_adapter.records.audit import AuditEvent, AuditFilter, AuditTrail
from api_adapter.records.database import Database
from api_adapter.records.deliveries import (
    Deliveries,
    DeliveryFilter,
    DeliveryGauges,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from api_adapter.records.keys import ApiKey, Keys
from api_adapter.records.scopes import Scope
from api_adapter.records.webhook_calls import WebhookCalls

__all__ = [
    "ApiKey",
    "AuditEvent",
    "AuditFilter",
    "AuditTrail",
    "Deliveries",
    "DeliveryFilter",
    "DeliveryGauges",
    "Keys",
    "Records",
    "Scope",
    "WebhookAttempt",
    "WebhookCalls",
    "WebhookDelivery",
    "WebhookEndpoint",
    "open_records",
]


@dataclass(frozen=True, slots=True)
class Records:
    """What we keep beside Dagster's record. `UnavailableError` from every method while Postgres is away."""

    keys: Keys
    audit: AuditTrail
    deliveries: Deliveries
    webhook_calls: WebhookCalls


@contextmanager
def open_records(url: str) -> Iterator[Records]:
    """Give the records at a Postgres URL; it connects, and makes the tables, when first used."""
    database = Database(url)
    try:
        yield Records(Keys(database), AuditTrail(database), Deliveries(database), WebhookCalls(database))
    finally:
        database.close()
