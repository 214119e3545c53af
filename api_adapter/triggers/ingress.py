"""Takes the signed calls of webhooks: each event starts one run, which exists before the call is answered."""

import logging
import os
from dataclasses import dataclass, field
from typing import Final

from api_adapter.control import Idempotency, LoadedTrigger, RunOrder
from api_adapter.dependencies import Services
from api_adapter.errors import IdempotencyConflictError
from api_adapter.triggers.errors import (
    EventConflictError,
    QueueFullError,
    ReplayedError,
    SecretMissingError,
    TriggerDisabledError,
    WebhookNotFoundError,
)
from api_adapter.triggers.payloads import Event, read_event
from api_adapter.triggers.signatures import Seal, read_seal
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.contract.starting import hash_request, run_id_of_key

logger = logging.getLogger("api_adapter")

WEBHOOK: Final = "webhook"
_LONGEST_SUMMARY = 200
_RETRY_SECONDS = 15  # after which a full queue may have room again


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call whose headers are in order: what it calls, and how to tell whether it may. Its body is still to come."""

    trigger: LoadedTrigger
    seal: Seal
    secret: str = field(repr=False)

    def check(self, body: bytes) -> None:
        """Return if the call is signed as it must be; `SignatureRefusedError` if not."""
        self.seal.check(body, secret=self.secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The run that a call has started, or (`replayed`) an earlier call of the same event."""

    run_id: str
    replayed: bool


def open_call(services: Services, *, trigger_id: str, timestamp: str | None, signature: str | None) -> Call:
    """Return the call that these headers belong to, before its body is read.

    `WebhookNotFoundError`, `SignatureRefusedError` for headers that can't be right, `SecretMissingError`.
    """
    trigger = services.control.catalog().triggers.get(trigger_id)
    if trigger is None or trigger.document["triggerType"] != WEBHOOK:
        raise WebhookNotFoundError(trigger_id)
    seal = read_seal(timestamp, signature, now=services.clock())
    secret = find_secret(trigger)
    if secret is None:
        variable = trigger.config["secret"]["env"]
        logger.error(
            "webhook %s can't be checked: set the environment variable %s of this process", trigger_id, variable
        )
        raise SecretMissingError
    return Call(trigger=trigger, seal=seal, secret=secret)


def find_secret(trigger: LoadedTrigger) -> str | None:
    """Return the secret of a webhook from the environment of this process; None where it is not set, or empty."""
    return os.environ.get(trigger.config["secret"]["env"]) or None


def start_run(services: Services, *, call: Call, body: bytes, event_header: str | None, client: str) -> Accepted:
    """Start the run of a call that is signed right; of an event that has come before, return the run of then.

    Nothing is started unless all is right, and nothing twice: the run's id follows from the event's, or without one
    from what was signed.
    """
    trigger = call.trigger
    check_enabled(services, trigger_id=trigger.id)
    event = find_event(trigger, body=body, event_header=event_header)
    digest = call.seal.digest(body)
    key = _key(trigger.id, event=event, digest=digest)
    now = services.clock()
    if not services.records.webhook_calls.claim(trigger.id, digest=digest, event_id=event.id, at=now):
        raise ReplayedError
    _check_room(services, run_id=run_id_of_key(trigger.pipeline["id"], key))
    order = RunOrder(
        pipeline_id=trigger.pipeline["id"],
        variables=event.variables,
        environment_id=trigger.document.get("environmentId"),
        nodes=None,
        priority=None,
        trigger=WEBHOOK,
        user=None,
        idempotency=Idempotency(key=key, request_hash=hash_request({"variables": event.variables})),
        tags={
            tag_names.TRIGGER_ID: trigger.id,
            tag_names.EVENT_SUMMARY: _summary(body, event=event, client=client),
        },
    )
    try:
        started = services.control.start(order, at=now)
    except IdempotencyConflictError as error:
        raise EventConflictError from error
    if started.replayed and event.id is None:
        raise ReplayedError
    return Accepted(run_id=encode_run_id(started.dagster_id), replayed=started.replayed)


def find_event(trigger: LoadedTrigger, *, body: bytes, event_header: str | None) -> Event:
    """Return the event that a body tells of; `InvalidRequestError` names what of it is missing or wrong."""
    return read_event(
        body,
        header=event_header,
        config=trigger.config,
        given=trigger.document.get("variables") or {},
        declared=trigger.pipeline["document"].get("variables") or {},
    )


def check_enabled(services: Services, *, trigger_id: str) -> None:
    """Return if the trigger is switched on; `TriggerDisabledError` if not."""
    switch = services.control.switches.read("trigger", [trigger_id]).get(trigger_id)
    if switch is None or not switch.enabled:
        raise TriggerDisabledError(trigger_id)


def has_room(services: Services) -> bool:
    """Tell whether a further run may wait in the queue."""
    cap = services.settings.queue_cap
    return services.storage.count_queued(most=cap) < cap


def _check_room(services: Services, *, run_id: str) -> None:
    """Return if a further run may wait, or this one is there already; `QueueFullError` if not."""
    if not has_room(services) and not services.storage.read_statuses([run_id]):
        raise QueueFullError(most=services.settings.queue_cap, seconds=_RETRY_SECONDS)


def _key(trigger_id: str, *, event: Event, digest: str) -> str:
    """Return the idempotency key of an event: one that nobody can send as such, since it has several lines."""
    return "\n".join([WEBHOOK, trigger_id, *(("event", event.id) if event.id is not None else ("call", digest))])


def _summary(body: bytes, *, event: Event, client: str) -> str:
    """Return what has happened, in a few words without anything of the body but the event's id."""
    parts = [f"{len(body):,} bytes" if body else "no body", f"from {client}"]
    named = [] if event.id is None else [f"event {event.id}"]
    return ", ".join([" ".join(parts), *named])[:_LONGEST_SUMMARY]
