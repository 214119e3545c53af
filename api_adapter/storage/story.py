"""The few events of a run that tell its story, found among the many lines that its nodes have logged."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import NamedTuple

from api_adapter.storage.database import Connection
from api_adapter.storage.events import Event

STEP_EVENTS = frozenset(
    {
        "STEP_START",
        "STEP_OUTPUT",
        "STEP_SUCCESS",
        "STEP_FAILURE",
        "STEP_UP_FOR_RETRY",
        "STEP_RESTARTED",
        "STEP_SKIPPED",
    }
)
END_EVENTS = frozenset({"PIPELINE_FAILURE", "PIPELINE_CANCELING", "PIPELINE_CANCELED"})
CAPTURE_EVENTS = frozenset({"LOGS_CAPTURED"})
_WHEN_IS_ALL = STEP_EVENTS - {"STEP_OUTPUT", "STEP_FAILURE", "STEP_UP_FOR_RETRY"}  # that can be told of these


class StoryEvent(NamedTuple):
    """An event that belongs to the story; `body` is its JSON, None where nothing but its time is ever told."""

    id: int
    type: str
    step_key: str | None
    time: datetime
    body: str | None

    @property
    def event(self) -> Event:
        """The whole event, decoded."""
        return Event(self.id, self.type, self.step_key, self.body or "{}")


def is_one_of(types: Collection[str]) -> str:
    """Return the condition that an event is of one of these types."""
    return f"dagster_event_type IN ({', '.join(repr(kind) for kind in sorted(types))})"


# An index of ours has this condition; the planner sees that a condition on some of the types implies it.
STORY_CONDITION = is_one_of(STEP_EVENTS | END_EVENTS | CAPTURE_EVENTS)

# By parts, and with run and id compared as a whole: the planner takes these events for as frequent in this run as in
# all, and would else read the whole table, or walk along the primary key.
_AT_ONCE = 2000
_EVENTS = f"""
SELECT id, dagster_event_type, step_key, "timestamp" AT TIME ZONE 'UTC' AS time,
       CASE WHEN NOT {is_one_of(_WHEN_IS_ALL)} THEN event END AS body
FROM event_logs
WHERE (run_id, id) > (%(run_id)s, %(after)s) AND (run_id, id) <= (%(run_id)s, {(1 << 63) - 1}) AND {{wanted}}
ORDER BY run_id, id LIMIT {_AT_ONCE}"""


def read_story(connection: Connection, *, run_id: str, types: Collection[str]) -> Iterator[StoryEvent]:
    """Yield the events of these types, oldest first; each of the types must be one of the story's."""
    statement = _EVENTS.format(wanted=is_one_of(types))
    after, found = 0, _AT_ONCE
    while found == _AT_ONCE:
        part = connection.prepared_tuples(statement, {"run_id": run_id, "after": after})
        yield from map(StoryEvent._make, part)
        found = len(part)
        after = part[-1][0] if part else after
