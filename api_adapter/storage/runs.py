"""Runs as Planasonix tells them, read from Dagster's tables `runs` and `run_tags`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, DateTime, Row, Select, and_, case, cast, exists, func, select

from api_adapter.storage.tables import RUN_TAGS, RUNS
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import RunIdError, encode_run_id
from planasonix_orchestrator.contract.names import decode_name

RunStatus = Literal["queued", "running", "succeeded", "failed", "canceled"]

STATUSES: Mapping[RunStatus, tuple[str, ...]] = {
    "queued": ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING"),
    "running": ("STARTED", "SUSPENDED", "CANCELING"),
    "succeeded": ("SUCCESS",),
    "failed": ("FAILURE",),
    "canceled": ("CANCELED",),
}
FINISHED: frozenset[RunStatus] = frozenset({"succeeded", "failed", "canceled"})
_STATUS_OF = {dagster: ours for ours, several in STATUSES.items() for dagster in several}

_DERIVED_PREFIX = "pl_"
_VISIBILITY_OVERLAP = 1000  # ids become visible out of order: look again at this many before the last one seen


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run. `position` grows with each new run and orders lists; `dagster_status` is Dagster's own finer word."""

    id: str
    dagster_id: str
    position: int
    job_name: str
    snapshot_id: str | None
    status: RunStatus
    dagster_status: str
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    tags: Mapping[str, str]

    @property
    def finished(self) -> bool:
        """True once the run has ended."""
        return self.status in FINISHED

    @property
    def pipeline_id(self) -> str:
        """The pipeline's id; for a job that was not compiled by us it is derived from the job's name."""
        return self.tags.get(tag_names.PIPELINE_ID) or _DERIVED_PREFIX + self.job_name

    @property
    def pipeline_name(self) -> str:
        """The name of the pipeline when it ran."""
        return decode_name(self.job_name)

    @property
    def trigger(self) -> str:
        """What started the run: one of `contract.tags.TRIGGER_KINDS`."""
        named = self.tags.get(tag_names.TRIGGER)
        if named:
            return named
        return next((kind for tag, kind in _DAGSTER_TRIGGERS.items() if tag in self.tags), "manual")

    def duration_at(self, now: datetime) -> float | None:
        """Return the seconds from start to end, or to `now` while the run goes on; None if it never started."""
        if self.started_at is None:
            return None
        return max(((self.finished_at or now) - self.started_at).total_seconds(), 0.0)


# Tags that Dagster itself sets on runs it starts, the more telling first.
_DAGSTER_TRIGGERS = {
    "dagster/backfill": "backfill",
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
    "dagster/parent_run_id": "retry",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs to list. `since` and `until` (exclusive) compare the start, or the creation while a run is queued."""

    pipeline_id: str | None = None
    statuses: Collection[RunStatus] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(slots=True)
class _JobNames:
    seen: int = 0
    names: set[str] = field(default_factory=set)


class RunReader:
    """Reads runs. Lists are newest first and go on below a position, so that no run is seen twice or missed."""

    def __init__(self) -> None:
        self._job_names: dict[str, _JobNames] = {}
        self._lock = Lock()

    def page(
        self, connection: Connection, *, filter_by: RunFilter, limit: int, below: int | None = None
    ) -> Sequence[RunRecord]:
        """Return at most `limit` runs that pass the filter, newest first, starting under the position `below`."""
        query = _RUN_QUERY.order_by(RUNS.c.id.desc()).limit(limit)
        if below is not None:
            query = query.where(RUNS.c.id < below)
        if filter_by.pipeline_id is not None:
            names = self._names_of(connection, pipeline_id=filter_by.pipeline_id)
            query = query.where(_is_of_pipeline(filter_by.pipeline_id, names=names))
        if filter_by.statuses:
            dagster = [name for status in filter_by.statuses for name in STATUSES[status]]
            query = query.where(RUNS.c.status.in_(sorted(dagster)))
        if filter_by.since is not None:
            query = query.where(_happened >= filter_by.since)
        if filter_by.until is not None:
            query = query.where(_happened < filter_by.until)
        return _records(connection, query)

    def one(self, connection: Connection, *, dagster_id: str) -> RunRecord | None:
        """Return a run, or None if there is none of this id."""
        records = _records(connection, _RUN_QUERY.where(RUNS.c.run_id == dagster_id))
        return records[0] if records else None

    def _names_of(self, connection: Connection, *, pipeline_id: str) -> Collection[str]:
        """Return the job names under which a pipeline has run, also before it was renamed.

        Filtering by job name is one index range, while a join with the tags of all runs is what makes large
        instances slow. Only runs that are newer than those of the last call are looked at.
        """
        with self._lock:
            known = self._job_names.get(pipeline_id) or _JobNames()
        newest = connection.scalar(select(func.coalesce(func.max(RUNS.c.id), 0))) or 0
        fresh = select(RUNS.c.pipeline_name).distinct().where(RUNS.c.id > known.seen - _VISIBILITY_OVERLAP)
        names = known.names | set(connection.scalars(fresh.where(_tagged(pipeline_id))))
        if names:
            with self._lock:
                self._job_names[pipeline_id] = _JobNames(newest, names)
        return names


def _tag(key: str) -> Any:
    return (
        select(RUN_TAGS.c.value)
        .where(RUN_TAGS.c.run_id == RUNS.c.run_id, RUN_TAGS.c.key == key)
        .order_by(RUN_TAGS.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )


def _tagged(pipeline_id: str) -> ColumnElement[bool]:
    return exists().where(
        RUN_TAGS.c.run_id == RUNS.c.run_id,
        RUN_TAGS.c.key == tag_names.PIPELINE_ID,
        RUN_TAGS.c.value == pipeline_id,
    )


def _is_of_pipeline(pipeline_id: str, *, names: Collection[str]) -> ColumnElement[bool]:
    derived = pipeline_id.removeprefix(_DERIVED_PREFIX)
    told_by_name = and_(RUNS.c.pipeline_name == derived, _tag(tag_names.PIPELINE_ID).is_(None))
    return and_(
        RUNS.c.pipeline_name.in_(sorted({*names, derived})),
        _tagged(pipeline_id) | told_by_name,
    )


# Dagster writes an aware time into a naive column, so that Postgres stores it in the session's time zone. This
# session has the same one (the database's default) and converts back.
_CREATED = cast(RUNS.c.create_timestamp, DateTime(timezone=True))
_happened = case((RUNS.c.start_time.is_not(None), func.to_timestamp(RUNS.c.start_time)), else_=_CREATED)

_RUN_QUERY = select(
    RUNS.c.id,
    RUNS.c.run_id,
    RUNS.c.pipeline_name,
    RUNS.c.snapshot_id,
    RUNS.c.status,
    _CREATED.label("created"),
    RUNS.c.start_time,
    RUNS.c.end_time,
)


def _records(connection: Connection, query: Select[Any]) -> list[RunRecord]:
    rows = connection.execute(query).all()
    tags: dict[str, dict[str, str]] = {row.run_id: {} for row in rows}
    of_these = select(RUN_TAGS.c.run_id, RUN_TAGS.c.key, RUN_TAGS.c.value).where(RUN_TAGS.c.run_id.in_(list(tags)))
    for tag in connection.execute(of_these.order_by(RUN_TAGS.c.id)) if rows else ():
        tags[tag.run_id][tag.key] = tag.value
    return [_record(row, tags=tags[row.run_id]) for row in rows]


def _record(row: Row[Any], *, tags: Mapping[str, str]) -> RunRecord:
    return RunRecord(
        id=api_run_id(row.run_id),
        dagster_id=row.run_id,
        position=row.id,
        job_name=row.pipeline_name,
        snapshot_id=row.snapshot_id,
        status=_STATUS_OF[row.status],
        dagster_status=row.status,
        queued_at=row.created.astimezone(UTC),
        started_at=_from_unix(row.start_time),
        finished_at=_from_unix(row.end_time),
        tags=tags,
    )


def api_run_id(dagster_id: str) -> str:
    """Return the run's id here; a run id that is no UUID (a caller's own choice in Dagster) stands as it is."""
    try:
        return encode_run_id(dagster_id)
    except RunIdError:
        return dagster_id


def _from_unix(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
