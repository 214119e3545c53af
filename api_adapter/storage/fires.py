"""What became of the fires of schedules, read from Dagster's table `job_ticks`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from api_adapter.storage.database import Connection
from api_adapter.storage.decoding import decode_json
from planasonix_orchestrator.contract.ids import api_run_id

FireStatus = Literal["started", "skipped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FireRecord:
    """A fire: when it was due, the API's ids of the runs that it started, or the reason why there is none."""

    due_at: datetime
    status: FireStatus
    reason: str | None
    run_ids: tuple[str, ...]

    @property
    def position(self) -> int:
        """Unix seconds."""
        return int(self.due_at.timestamp())


def list_fires(
    connection: Connection, *, selector_id: str, limit: int, below: int | None
) -> tuple[Sequence[FireRecord], int | None]:
    """Return at most `limit` fires, newest first, of those due before `below` (unix seconds), and where to go on.

    A tick tells of one fire, but for one that has started runs of missed fires, too: these are before it, and follow
    each other. The tick of a fire that is being seen to just now tells nothing yet.
    """
    parameters = {"selector": selector_id, "below": below, "limit": limit + 1}
    rows = connection.rows(_TICKS, parameters)
    later = connection.rows(_TICK_FROM, parameters) if below is not None else ()
    fires: dict[datetime, FireRecord] = {}
    for row in (*later, *rows):
        for fire in _fires(row.status, decode_json(row.tick_body)):
            known = fires.get(fire.due_at)
            if known is None or known.status != "started":  # a tick may have been interrupted, and another one did it
                fires[fire.due_at] = fire
    wanted = [fire for fire in fires.values() if below is None or fire.position < below]
    wanted.sort(key=lambda fire: fire.due_at, reverse=True)
    page = wanted[:limit]
    if len(wanted) > limit or (page and len(rows) > limit):
        return page, page[-1].position
    return page, int(rows[-1].due) if len(rows) > limit else None


def last_fired_runs(connection: Connection, *, selector_ids: Sequence[str]) -> Mapping[str, datetime]:
    """Return when the last run was made that a fire has started, by the schedule's selector id."""
    rows = connection.rows(_LAST_RUNS, {"selectors": list(selector_ids)})
    return {row.selector_id: row.created.astimezone(UTC) for row in rows}


def _fires(status: str, tick: Mapping[str, Any]) -> Iterator[FireRecord]:
    due_at = datetime.fromtimestamp(tick["timestamp"], UTC)
    if status == "SUCCESS":
        yield from _started(tick, due_at=due_at)
    elif status == "SKIPPED":
        yield FireRecord(due_at=due_at, status="skipped", reason=tick.get("skip_reason"), run_ids=())
    elif status == "FAILURE":
        yield FireRecord(due_at=due_at, status="failed", reason=_cause(tick.get("error")), run_ids=())


def _started(tick: Mapping[str, Any], *, due_at: datetime) -> Iterator[FireRecord]:
    runs = tick.get("run_ids") or ()
    keys = tick.get("run_keys") or ()
    for place, run_id in enumerate(runs):
        moment = _moment(keys[place]) if place < len(keys) else None
        yield FireRecord(due_at=moment or due_at, status="started", reason=None, run_ids=(api_run_id(run_id),))


def _moment(run_key: object) -> datetime | None:
    """Return when a fire was due, which is the key of its run."""
    try:
        return datetime.fromisoformat(str(run_key)).astimezone(UTC)
    except ValueError:  # a schedule that is not ours
        return None


def _cause(error: Mapping[str, Any] | None) -> str | None:
    """Return the first line of what an error goes back to, without the name of its class."""
    while error and error.get("cause"):
        error = error["cause"]
    if not error:
        return None
    message = str(error.get("message", "")).strip().partition("\n")[0]
    return message.partition(f"{error.get('cls_name')}: ")[2] or message


_TICKS = """
SELECT status, tick_body, extract(epoch FROM timestamp::timestamptz) AS due FROM job_ticks
WHERE selector_id = %(selector)s
  AND (%(below)s::bigint IS NULL OR timestamp < to_timestamp(%(below)s)::timestamp)
ORDER BY timestamp DESC LIMIT %(limit)s"""
# The tick that may have started runs of fires that were due before `below`, being itself due then or later.
_TICK_FROM = """
SELECT status, tick_body FROM job_ticks
WHERE selector_id = %(selector)s AND status = 'SUCCESS' AND timestamp >= to_timestamp(%(below)s)::timestamp
ORDER BY timestamp LIMIT 1"""
_LAST_RUNS = """
SELECT schedule.selector_id, runs.create_timestamp::timestamptz AS created
FROM unnest(%(selectors)s) AS schedule (selector_id)
CROSS JOIN LATERAL (
    SELECT tick_body::json -> 'run_ids' ->> -1 AS run_id FROM job_ticks
    WHERE job_ticks.selector_id = schedule.selector_id AND status = 'SUCCESS'
    ORDER BY timestamp DESC LIMIT 1
) AS tick
JOIN runs ON runs.run_id = tick.run_id"""
