"""Finds out whether a trigger can do its work, without starting anything or moving what its sensor remembers."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from api_adapter.control import Evaluation, LoadedTrigger
from api_adapter.dependencies import Services
from api_adapter.errors import ApiError
from api_adapter.timestamps import format_timestamp
from api_adapter.triggers.ingress import WEBHOOK, find_event, find_secret, has_room
from api_adapter.triggers.payloads import EVENT_ID_HEADER
from api_adapter.triggers.schemas import Check, TriggerTestRequest
from api_adapter.triggers.signatures import SIGNATURE_HEADER, TIMESTAMP_HEADER, read_seal

_OLDEST_HEARTBEAT = timedelta(seconds=90)  # the daemon gives one every 30 s


def check_trigger(services: Services, *, trigger: LoadedTrigger, request: TriggerTestRequest) -> Iterator[Check]:
    """Yield what is right and wrong with a trigger.

    A webhook is looked at by this process, which takes its calls. All others are evaluated by Dagster's daemon: what
    that has last made of it tells what an evaluation here would, without its effects.
    """
    switch = services.control.switches.read("trigger", [trigger.id]).get(trigger.id)
    if switch is None:
        yield Check(name="sensor", ok=False, message="Dagster has no sensor of this trigger.")
        return
    yield Check(name="sensor", ok=True, message="Dagster has its sensor.")
    on = switch.enabled
    yield Check(name="switch", ok=on, message="It is enabled." if on else "It is disabled, and starts nothing.")
    if trigger.document["triggerType"] == WEBHOOK:
        yield from _check_webhook(services, trigger=trigger, request=request)
    else:
        yield _check_daemon(services)
        yield _told_evaluation(services.control.switches.last_evaluation("trigger", trigger.id))


def _check_webhook(services: Services, *, trigger: LoadedTrigger, request: TriggerTestRequest) -> Iterator[Check]:
    secret = find_secret(trigger)
    variable = trigger.config["secret"]["env"]
    told = f"The variable {variable} is {'set' if secret else 'not set'} in the environment of the service."
    yield Check(name="secret", ok=secret is not None, message=told)
    room = has_room(services)
    told = f"{'Fewer than' if room else 'At least'} {services.settings.queue_cap} runs wait in the queue."
    yield Check(name="queue", ok=room, message=told)
    body = (request.body or "").encode("utf-8", "surrogatepass")
    headers = {name.lower(): value for name, value in (request.headers or {}).items()}
    if request.headers is not None and secret is not None:
        yield _check_signature(services, headers=headers, body=body, secret=secret)
    if request.body is not None:
        yield _check_payload(trigger, headers=headers, body=body)


def _check_signature(services: Services, *, headers: Mapping[str, str], body: bytes, secret: str) -> Check:
    timestamp, signature = (headers.get(name.lower()) for name in (TIMESTAMP_HEADER, SIGNATURE_HEADER))
    try:
        read_seal(timestamp, signature, now=services.clock()).check(body, secret=secret)
    except ApiError as error:
        return Check(name="signature", ok=False, message=error.message)
    return Check(name="signature", ok=True, message="The signature is that of this timestamp and body.")


def _check_payload(trigger: LoadedTrigger, *, headers: Mapping[str, str], body: bytes) -> Check:
    try:
        event = find_event(trigger, body=body, event_header=headers.get(EVENT_ID_HEADER.lower()))
    except ApiError as error:
        return Check(name="payload", ok=False, message=error.message)
    event_words = "no event id" if event.id is None else f"the event id {event.id}"
    variables = ", ".join(sorted(event.variables)) or "none"
    return Check(name="payload", ok=True, message=f"It gives {event_words}, and these variables: {variables}.")


def _check_daemon(services: Services) -> Check:
    heartbeat = services.storage.last_heartbeat()
    alive = heartbeat is not None and services.clock() - heartbeat <= _OLDEST_HEARTBEAT
    told = "It runs." if alive else "Dagster's daemon gives no sign of life, so that nothing is looked at."
    return Check(name="daemon", ok=alive, message=told)


def _told_evaluation(last: Evaluation | None) -> Check:
    if last is None:
        return Check(name="evaluation", ok=True, message="It was not evaluated yet.")
    outcome = f"started {last.runs} run{'' if last.runs == 1 else 's'}" if last.outcome == "started" else last.outcome
    reason = f": {last.reason}" if last.reason else "."
    told = f"Last evaluated at {format_timestamp(last.at)}, {outcome}{reason}"
    return Check(name="evaluation", ok=last.outcome != "failed", message=told)
