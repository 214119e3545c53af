"""Backfills, as the tags of their runs tell of them: there is no other record."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api_adapter.storage.database import Connection
from api_adapter.storage.runs import STATUS_OF, RunStatus
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import api_run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRecord:
    """A backfill: `asked` is the request as it was stored, `position` its place among all, in the order of making."""

    id: str
    position: str
    created_at: datetime
    asked: Mapping[str, Any]

    @property
    def pipeline_id(self) -> str:
        """The pipeline that it runs."""
        return str(self.asked["pipelineId"])


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRecord:
    """A slice of a backfill and its newest run; `attempts` counts its runs."""

    scheduled_at: str
    run_id: str
    dagster_id: str
    status: RunStatus
    attempts: int


def backfill_tag(backfill_id: str, *, created_at: str, asked: Mapping[str, Any]) -> str:
    """Return the value of the tag that tells of a whole backfill on each of its runs. `created_at` is in UTC."""
    return f"{created_at} {backfill_id} {json.dumps(asked, separators=(',', ':'))}"


def list_backfills(
    connection: Connection, *, visible: frozenset[str] | None, pipeline_id: str | None, limit: int, below: str | None
) -> Sequence[BackfillRecord]:
    """Return at most `limit` backfills of these pipelines (None: of all), newest first, from those before `below`."""
    found: list[BackfillRecord] = []
    for record in _newest_first(connection, below=below):
        if pipeline_id in {None, record.pipeline_id} and (visible is None or record.pipeline_id in visible):
            found.append(record)
        if len(found) == limit:
            break
    return found


def read_backfill(connection: Connection, *, backfill_id: str) -> BackfillRecord | None:
    """Return a backfill; None if there is none of this id, or none of its runs is left."""
    found = connection.rows(_BACKFILL, {"id": backfill_id})
    return _record(found[0].value) if found else None


def read_slices(connection: Connection, *, backfill_id: str) -> Sequence[SliceRecord]:
    """Return the slices of a backfill, each with its newest run, from the earliest on."""
    return [
        SliceRecord(
            scheduled_at=row.scheduled_at,
            run_id=api_run_id(row.run_id),
            dagster_id=row.run_id,
            status=STATUS_OF[row.status],
            attempts=row.attempts,
        )
        for row in connection.rows(_SLICES, {"id": backfill_id})
    ]


def _newest_first(connection: Connection, *, below: str | None) -> Iterator[BackfillRecord]:
    """Yield one after the other: each of many runs has the value, so that the index is jumped through."""
    last = below
    while True:
        found = connection.rows(_NEXT if last else _NEWEST, {"last": last})
        if not found:
            return
        last = found[0].value
        yield _record(last)


def _record(tag: str) -> BackfillRecord:
    created_at, id_, asked = tag.split(" ", 2)
    return BackfillRecord(
        id=id_,
        position=f"{created_at} {id_}",
        created_at=datetime.fromisoformat(created_at),
        asked=json.loads(asked),
    )


_OF_BACKFILL = f"key = '{tag_names.BACKFILL_ID}' AND value = %(id)s"
_NEWEST = f"SELECT value FROM run_tags WHERE key = '{tag_names.BACKFILL}' ORDER BY value DESC LIMIT 1"
_NEXT = (
    f"SELECT value FROM run_tags WHERE key = '{tag_names.BACKFILL}' AND value < %(last)s ORDER BY value DESC LIMIT 1"
)
_BACKFILL = f"""
SELECT value FROM run_tags
WHERE key = '{tag_names.BACKFILL}' AND run_id = (SELECT run_id FROM run_tags WHERE {_OF_BACKFILL} LIMIT 1)"""
_SLICES = f"""
SELECT DISTINCT ON (due.value) due.value AS scheduled_at, runs.run_id, runs.status,
       count(*) OVER (PARTITION BY due.value) AS attempts
FROM (SELECT run_id FROM run_tags WHERE {_OF_BACKFILL}) AS tag
JOIN runs ON runs.run_id = tag.run_id
JOIN run_tags AS due ON due.run_id = tag.run_id AND due.key = '{tag_names.SCHEDULED_AT}'
ORDER BY due.value, runs.id DESC"""
