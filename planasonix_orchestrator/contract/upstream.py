"""How far an upstream trigger has come in the ends of runs: its cursor, and the statement that finds what is left.

The trigger's sensor moves the cursor on, the API tells from it how far the trigger lags behind.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypedDict

from planasonix_orchestrator.contract import tags

# Dagster's types of the events with which runs end, by the trigger's `on`.
END_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "succeeded": ("PIPELINE_SUCCESS",),
    "failed": ("PIPELINE_FAILURE",),
    "finished": ("PIPELINE_SUCCESS", "PIPELINE_FAILURE", "PIPELINE_CANCELED"),
}
ENDED_AS: Final = {"PIPELINE_SUCCESS": "succeeded", "PIPELINE_FAILURE": "failed", "PIPELINE_CANCELED": "canceled"}

AWAITED: Final = "planasonix/upstream"  # on the trigger's sensor: metadata, the `Awaited` ends as JSON


class Awaited(TypedDict):
    """The ends that an upstream trigger waits for: Dagster's types of their events, and whose runs."""

    types: list[str]
    pipelines: list[str]


def awaited_ends(pipeline_ids: Sequence[str], *, on: str) -> Awaited:
    """Return what a trigger on these pipelines waits for, `on` as its document says it."""
    return {"types": list(END_TYPES[on]), "pipelines": list(pipeline_ids)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamCursor:
    """Which events a trigger has handled. Ids are those of `event_logs`.

    `since`: when it was switched on, in Unix seconds: earlier ends do not count. Everything up to the id `floor` has
    been handled, and those of `seen` above it. `settling` becomes the floor when none of the transactions `writers`
    works any more, which may have drawn lower ids that nobody sees yet. `met` are the pipelines of a trigger that waits
    for several, and the Dagster ids of their runs that have ended since it last started one: by environment, '' for
    none. `more`: there was more than one look takes.
    """

    since: float
    floor: int
    seen: tuple[int, ...] = ()
    settling: int = 0
    writers: tuple[str, ...] = ()
    met: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    more: bool = False

    def to_json(self) -> str:
        """Return the cursor as text."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "UpstreamCursor":
        """Return the cursor that `to_json` has written; `ValueError` for any other text."""
        try:
            told: dict[str, Any] = json.loads(text)
            return cls(seen=tuple(told.pop("seen")), writers=tuple(told.pop("writers")), **told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not the cursor of an upstream trigger: {text[:100]!r}") from error


def ends_parameters(cursor: UpstreamCursor, *, awaited: Awaited, most: int) -> dict[str, Any]:
    """Return the parameters of `NEW_ENDS`, for at most so many rows."""
    return {
        **awaited,
        "floor": cursor.floor,
        "since": cursor.since,
        "seen": list(cursor.seen),
        "most": most,
        "pipeline_id": tags.PIPELINE_ID,
        "environment_id": tags.ENVIRONMENT_ID,
    }


# The ends of runs of some pipelines that a cursor has not seen, in the order of their ids, by the index on the events'
# type and id; tags are read by the run alone, since the planner may take a key for rare that has become frequent. In
# the driver's words; `ended` is in Unix seconds.
NEW_ENDS: Final = """
SELECT id, event_logs.run_id, dagster_event_type, date_part('epoch', "timestamp") AS ended, pipeline_id, environment_id
FROM event_logs CROSS JOIN LATERAL (
    SELECT max(value) FILTER (WHERE key = %(pipeline_id)s) AS pipeline_id,
           max(value) FILTER (WHERE key = %(environment_id)s) AS environment_id
    FROM run_tags WHERE run_tags.run_id = event_logs.run_id
) AS told
WHERE dagster_event_type = ANY(%(types)s) AND id > %(floor)s AND id <> ALL(%(seen)s::bigint[])
  AND "timestamp" >= to_timestamp(%(since)s) AT TIME ZONE 'UTC' AND pipeline_id = ANY(%(pipelines)s)
ORDER BY id LIMIT %(most)s"""
