"""Writes into the audit trail how the runs ended whose cancellation was asked for."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from api_adapter.addresses import dagster_run_id
from api_adapter.dependencies import Services
from api_adapter.records import AuditEvent
from api_adapter.storage import FINISHED

logger = logging.getLogger("api_adapter")

_SECONDS_BETWEEN_LOOKS = 5.0
_SECONDS_AFTER_TROUBLE = 10.0
_AT_ONCE = 500
_GONE = "deleted"  # of a run that is no longer there


@asynccontextmanager
async def recorded_outcomes(services: Services) -> AsyncIterator[None]:
    """Keep the trail up for as long; what several processes write is the same."""
    task = asyncio.create_task(_record_for_ever(services))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _record_for_ever(services: Services) -> None:
    pause = _SECONDS_BETWEEN_LOOKS
    while True:
        await asyncio.sleep(pause)
        try:
            await asyncio.to_thread(record_outcomes, services)
        except Exception as error:  # whatever goes wrong once, the trail would be kept up no more
            logger.warning("how canceled runs have ended is not on record yet: %s", error)
            pause = _SECONDS_AFTER_TROUBLE
        else:
            pause = _SECONDS_BETWEEN_LOOKS


def record_outcomes(services: Services) -> None:
    """Write down what has ended since the last time."""
    events = services.records.audit.open_cancellations(limit=_AT_ONCE)
    runs = {event.id: [dagster_run_id(run_id) for run_id in _run_ids(event)] for event in events}
    if not runs:
        return
    statuses = services.storage.read_statuses({run_id for ids in runs.values() for run_id in ids})
    for event in events:
        ends = [statuses.get(run_id, _GONE) for run_id in runs[event.id]]
        if all(end in FINISHED or end == _GONE for end in ends):
            outcome = ends[0] if event.resource is not None else dict(Counter(ends))
            services.records.audit.add_outcome(event.id, outcome)


def _run_ids(event: AuditEvent) -> Sequence[str]:
    """Return the runs that an event is about: the one that the path names, or those that a filter has found."""
    return [event.resource] if event.resource is not None else list(event.detail.get("runIds", ()))
