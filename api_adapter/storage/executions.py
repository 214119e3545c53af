"""What a trigger has started: the runs that carry its id, and what it had seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from api_adapter.storage.database import Connection, Row
from api_adapter.storage.runs import STATUS_OF, STATUSES, RunStatus
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import api_run_id
from planasonix_orchestrator.contract.origins import PARENT


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerExecution:
    """A run that a trigger has started. `position` grows with each new run; `started_at` is when it was created."""

    position: int
    run_id: str
    status: RunStatus
    event_summary: str | None
    started_at: datetime
    finished_at: datetime | None


# The trigger's tags by the index run_tags(key, value), which has no order of its own: "id + 0" keeps the planner from
# looking for it elsewhere. A run that Dagster has started again has taken over its parent's tags; the trigger has not
# started it. Most pages are among the newest few; only one that is not makes the rest be joined as a whole.
_MINE = f"""
    SELECT id, run_id FROM run_tags
    WHERE key = '{tag_names.TRIGGER_ID}' AND value = %(trigger_id)s AND id < %(below)s"""
_NEWEST = f"{_MINE} ORDER BY id + 0 DESC LIMIT %(at_once)s"
_OLDEST = f"SELECT min(id) AS position, count(*) AS number FROM ({_NEWEST}) AS newest"
_EXECUTIONS = f"""
WITH mine AS MATERIALIZED ({{mine}}), page AS (
    SELECT mine.id AS position, mine.run_id, status, end_time, create_timestamp::timestamptz AS created
    FROM mine JOIN runs ON runs.run_id = mine.run_id
    WHERE status = ANY(%(statuses)s::text[]) AND NOT EXISTS (
        SELECT 1 FROM run_tags AS parent WHERE parent.run_id = mine.run_id AND parent.key = '{PARENT}')
    ORDER BY mine.id DESC LIMIT %(limit)s
)
SELECT page.*, (SELECT value FROM run_tags AS told WHERE told.run_id = page.run_id AND key = '{tag_names.EVENT_SUMMARY}'
                ORDER BY told.id DESC LIMIT 1) AS summary
FROM page ORDER BY position DESC"""
_NO_BOUND = (1 << 63) - 1
_FEW = 512

# Runs that a limit of their own holds back, as the slices of a backfill, wait for each other and not for capacity.
_QUEUED = f"""
SELECT count(*) FROM (
    SELECT 1 FROM runs WHERE status = ANY(%(statuses)s::text[]) AND NOT EXISTS (
        SELECT 1 FROM run_tags WHERE run_tags.run_id = runs.run_id AND key = '{tag_names.LIMITED_BY}')
    LIMIT %(most)s) AS queued"""


def list_executions(
    connection: Connection, *, trigger_id: str, status: RunStatus | None, limit: int, below: int | None
) -> Sequence[TriggerExecution]:
    """Return at most `limit` runs that a trigger has started, newest first, starting under the position `below`."""
    wanted = STATUSES if status is None else {status: STATUSES[status]}
    parameters = {
        "trigger_id": trigger_id,
        "statuses": [name for several in wanted.values() for name in several],
        "below": _NO_BOUND if below is None else below,
        "limit": limit,
        "at_once": max(_FEW, 2 * limit),
    }
    found = connection.rows(_EXECUTIONS.format(mine=_NEWEST), parameters)
    if len(found) < limit:
        ((oldest, number),) = connection.rows(_OLDEST, parameters)
        if number == parameters["at_once"]:
            rest = parameters | {"below": oldest, "limit": limit - len(found)}
            found = [*found, *connection.rows(_EXECUTIONS.format(mine=_MINE), rest)]
    return [_execution(row) for row in found]


def count_queued(connection: Connection, *, most: int) -> int:
    """Return how many runs wait for capacity, counting to `most` and no further."""
    ((number,),) = connection.prepared_tuples(_QUEUED, {"statuses": list(STATUSES["queued"]), "most": most})
    return int(number)


def _execution(row: Row) -> TriggerExecution:
    return TriggerExecution(
        position=row.position,
        run_id=api_run_id(row.run_id),
        status=STATUS_OF[row.status],
        event_summary=row.summary,
        started_at=row.created.astimezone(UTC),
        finished_at=None if row.end_time is None else datetime.fromtimestamp(row.end_time, UTC),
    )
