"""Runs as Planasonix tells them, read from Dagster's tables `runs` and `run_tags`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Any, Literal, NamedTuple

import orjson

from api_adapter.storage.database import Connection, Row
from api_adapter.storage.decoding import decode_json
from api_adapter.storage.outline import (
    LONG_WAIT,
    NEWS,
    PIPELINE_OF_RUN,
    TRIGGER_OF_RUN,
    Outline,
    View,
)
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import PIPELINE_PREFIX, api_run_id
from planasonix_orchestrator.contract.names import decode_name
from planasonix_orchestrator.contract.origins import PARENT, is_reexecution, trigger_kind

RunStatus = Literal["queued", "running", "succeeded", "failed", "canceled"]

STATUSES: Mapping[RunStatus, tuple[str, ...]] = {
    "queued": ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING"),
    "running": ("STARTED", "SUSPENDED", "CANCELING"),
    "succeeded": ("SUCCESS",),
    "failed": ("FAILURE",),
    "canceled": ("CANCELED",),
}
FINISHED: frozenset[RunStatus] = frozenset({"succeeded", "failed", "canceled"})
STATUS_OF = {dagster: ours for ours, several in STATUSES.items() for dagster in several}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run. `position` grows with each new run and orders lists; `dagster_status` is Dagster's own finer word."""

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
    def id(self) -> str:
        """The run's id here."""
        return api_run_id(self.dagster_id)

    @property
    def finished(self) -> bool:
        """True once the run has ended."""
        return self.status in FINISHED

    @property
    def pipeline_id(self) -> str:
        """The pipeline's id; for a job that was not compiled by us it is derived from the job's name."""
        return _pipeline_id(self.tags, job_name=self.job_name)

    @property
    def pipeline_name(self) -> str:
        """The name of the pipeline when it ran."""
        return decode_name(self.job_name)

    @property
    def is_reexecution(self) -> bool:
        """True for a run that Dagster has started again, which has taken over what its parent's tags say."""
        return is_reexecution(self.tags, run_id=self.dagster_id)

    @property
    def trigger(self) -> str:
        """What started the run: one of `contract.tags.TRIGGER_KINDS`."""
        return trigger_kind(self.tags, run_id=self.dagster_id)

    @property
    def parent_id(self) -> str | None:
        """The id of the run that this one retries."""
        parent = self.tags.get(PARENT)
        return api_run_id(parent) if parent else None

    @property
    def reuses(self) -> str | None:
        """The Dagster id of the run whose results stand for the nodes that this one, a retry, does not execute."""
        return self.tags.get(tag_names.REUSED_FROM) if self.tags.get(tag_names.TAGS_OF) == self.dagster_id else None

    def duration_at(self, now: datetime) -> float | None:
        """Return the seconds from start to end, or to `now` while the run goes on; None if it never started."""
        if self.started_at is None:
            return None
        return max(((self.finished_at or now) - self.started_at).total_seconds(), 0.0)


class ListedRun(NamedTuple):
    """A run as lists tell it, as `RunRecord` does; its times are unix seconds, as Dagster has them.

    A page has up to 500 of them, of which whatever is not told would be read in vain.
    """

    position: int
    dagster_id: str
    pipeline_id: str
    status: RunStatus
    trigger: str
    started_at: float | None
    finished_at: float | None

    @property
    def id(self) -> str:
        """The run's id here."""
        return api_run_id(self.dagster_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggeredRun:
    """A run that another one has caused, by its id here."""

    id: str
    pipeline_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run, the id of its newest event, the runs that it has caused, the first one first, and its `body`.

    That is the JSON of a DagsterRun.
    """

    run: RunRecord
    last_event: int
    body: str = field(repr=False)
    triggered: Sequence[TriggeredRun] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a run was started with: its config, and the keys of the steps that it was to take (None: all of its job)."""

    config: Mapping[str, Any]
    steps: Sequence[str] | None


def parse_request(body: str) -> RunRequest:
    """Return what a run was started with, of the JSON of its DagsterRun."""
    told = decode_json(body)
    config, steps = told.get("run_config"), told.get("step_keys_to_execute")
    return RunRequest(
        config=config if isinstance(config, dict) else {}, steps=tuple(steps) if isinstance(steps, list) else None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs to list.

    `since` and `until` (exclusive) compare the start, or the creation while a run is queued. `visible` are the
    pipelines that the caller may see; None means all.
    """

    pipeline_id: str | None = None
    statuses: Collection[RunStatus] = ()
    triggers: Collection[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    visible: frozenset[str] | None = None

    @property
    def pipelines(self) -> frozenset[str] | None:
        """The pipelines whose runs pass; None means all."""
        if self.pipeline_id is None:
            return self.visible
        asked = frozenset({self.pipeline_id})
        return asked if self.visible is None else asked & self.visible

    @property
    def is_simple(self) -> bool:
        """True if one statement is enough to list the runs that pass."""
        return self.pipelines is None and not self.triggers and self.since is None and self.until is None

    @property
    def scope(self) -> tuple[object, ...]:
        """What tells this filter from others, the same in every process."""
        several = (self.statuses, self.triggers, self.visible)
        in_order = (None if words is None else tuple(sorted(words)) for words in several)
        return self.pipeline_id, self.since, self.until, *in_order

    @property
    def dagster_statuses(self) -> list[str]:
        """The statuses that pass, in Dagster's words; empty means all."""
        return [name for status in self.statuses for name in STATUSES[status]]


def list_runs(
    connection: Connection, *, outline: Outline, filter_by: RunFilter, limit: int, below: int | None = None
) -> Sequence[ListedRun]:
    """Return at most `limit` runs that pass the filter, newest first, starting under the position `below`.

    All statements must see the same snapshot of the database.
    """
    view = outline.fresh_view(connection)
    page = Page(connection, view=view, filter_by=filter_by, limit=limit, below=below)
    return list(map(_listed, page.fetch(_LISTED)))


def list_runs_at_once(
    connection: Connection, *, outline: Outline, filter_by: RunFilter, limit: int, below: int | None = None
) -> Sequence[ListedRun] | None:
    """Return what `list_runs` does, by a single statement; None if the outline turns out to be behind it."""
    view = outline.view()
    page = Page(connection, view=view, filter_by=filter_by, limit=limit, below=below)
    if filter_by.is_simple or not view.knows:
        return list(map(_listed, page.fetch(_LISTED)))
    found = page.fetch(_LISTED_WITH_NEWS)
    behind = found[0][_NEWS_AT] if found else view.has_news(connection)
    return None if behind else list(map(_listed, found))


def list_one_and(connection: Connection, columns: str, *, run_id: str) -> tuple[ListedRun, Row] | None:
    """Return a run as lists tell it, and a row with more columns: SQL that may name ``%(run)s``. None without a run."""
    found = connection.prepared_rows(_LISTED_ONE.format(columns=columns), {"run": run_id})
    return (_listed(found[0]), found[0]) if found else None


def read_run(connection: Connection, *, dagster_id: str) -> RunRecord | None:
    """Return a run, or None if there is none of this id."""
    found = connection.prepared_rows(_ONE, {"run_id": dagster_id})
    return _record(found[0]) if found else None


def read_statuses(connection: Connection, *, dagster_ids: Collection[str]) -> Mapping[str, RunStatus]:
    """Return the statuses of these runs, those left out that do not exist."""
    return {row.run_id: STATUS_OF[row.status] for row in connection.rows(_STATUSES, {"run_ids": list(dagster_ids)})}


def read_state(connection: Connection, *, dagster_id: str) -> RunState | None:
    """Return a run and the id of its newest event (0 if it has none); None if there is no such run."""
    found = connection.prepared_rows(_STATE, {"run_id": dagster_id})
    if not found:
        return None
    triggered = [
        TriggeredRun(id=api_run_id(run_id), pipeline_id=pipeline_id)
        for run_id, pipeline_id in (orjson.loads(found[0].triggered) if found[0].triggered else ())
    ]
    return RunState(
        run=_record(found[0]), last_event=found[0].last_event or 0, body=found[0].run_body, triggered=triggered
    )


def read_started_run(connection: Connection, *, dagster_id: str) -> tuple[RunRecord, RunRequest] | None:
    """Return a run and what it was started with; None if there is none of this id."""
    found = connection.prepared_rows(_STARTED, {"run_id": dagster_id})
    if not found:
        return None
    return _record(found[0]), parse_request(found[0].run_body)


_COLUMNS = """id, run_id, pipeline_name, snapshot_id, status, create_timestamp, start_time, end_time"""

_TOLD = """
SELECT id, run_id, pipeline_name, status, start_time, end_time,
       (SELECT json_object_agg(key, value ORDER BY tags.id)::text FROM run_tags AS tags
        WHERE tags.run_id = page.run_id) AS tags{more}
FROM ({runs}) AS page ORDER BY id DESC"""
_NEWEST = "SELECT * FROM ({runs}) AS found ORDER BY id DESC LIMIT {limit}"
_LISTED = _TOLD.format(more="", runs=_NEWEST)
_LISTED_ONE = _TOLD.format(more=", {columns}", runs="SELECT * FROM runs WHERE run_id = %(run)s")
_LISTED_WITH_NEWS = _TOLD.format(more=f", {NEWS}", runs=_NEWEST)
_NEWS_AT = 7
# Dagster writes an aware time into a naive column, so that Postgres stores it in the session's time zone. This
# session has the same one (the database's default) and converts back.
_ONE = _TOLD.format(
    more=", snapshot_id, create_timestamp::timestamptz AS created{body}",
    runs="SELECT * FROM runs WHERE run_id = %(run_id)s",
)
_STARTED = _ONE.format(body=", run_body")
_ONE = _ONE.format(body="")
# A run that was started again has taken over what its parent's tags say. Tags are read by the run alone, in its index.
_TRIGGERED = f"""
SELECT json_agg(json_build_array(runs.run_id, coalesce(told.pipeline_id, '{PIPELINE_PREFIX}' || pipeline_name))
                ORDER BY runs.id)::text
FROM run_tags AS cause JOIN runs ON runs.run_id = cause.run_id CROSS JOIN LATERAL (
    SELECT max(value) FILTER (WHERE key = '{tag_names.PIPELINE_ID}') AS pipeline_id, bool_or(key = '{PARENT}') AS again
    FROM run_tags WHERE run_tags.run_id = runs.run_id
) AS told
WHERE cause.key = '{tag_names.UPSTREAM_RUN}' AND cause.value = %(run_id)s AND NOT told.again"""
_STATE = f"""
SELECT told.*, (SELECT max(id) FROM event_logs WHERE run_id = %(run_id)s) AS last_event, ({_TRIGGERED}) AS triggered
FROM ({_STARTED}) AS told"""
_STATUSES = "SELECT run_id, status FROM runs WHERE run_id = ANY(%(run_ids)s)"

_HAPPENED = "coalesce(to_timestamp(start_time), create_timestamp::timestamptz)"

# Where runs are read in the order of their ids: each is one range of one index for each job and status.
# Rows are compared as a whole where the planner would else walk another index and hope to meet enough rows soon. Of a
# status with further conditions it expects so few that it would sort them all, unless it plans for their very bounds.
_BOUNDS = "id < %(below)s AND id >= %(least)s"
_ALL = "SELECT {columns} FROM runs WHERE {conditions} ORDER BY id DESC LIMIT {limit}"
_OF_STATUS = """
SELECT mine.* FROM unnest(%(statuses)s::text[]) AS wanted(status) CROSS JOIN LATERAL (
    SELECT {columns} FROM runs
    WHERE (runs.status, id) >= (wanted.status, %(least)s) AND (runs.status, id) < (wanted.status, %(below)s)
          AND {conditions}
    ORDER BY runs.status DESC, id DESC LIMIT {limit}) AS mine"""
_OF_JOB = """
SELECT mine.* FROM unnest(%(jobs)s::text[]) AS wanted(job) CROSS JOIN LATERAL (
    SELECT {columns} FROM runs
    WHERE (pipeline_name, id) >= (wanted.job, %(least)s) AND (pipeline_name, id) < (wanted.job, %(below)s)
          AND {conditions}
    ORDER BY pipeline_name DESC, id DESC LIMIT {limit}) AS mine"""
_OF_JOB_AND_STATUS = """
SELECT mine.* FROM unnest(%(jobs)s::text[]) AS wanted(job) CROSS JOIN unnest(%(statuses)s::text[]) AS also(status)
CROSS JOIN LATERAL (
    SELECT {columns} FROM runs
    WHERE (pipeline_name, runs.status, id) >= (wanted.job, also.status, %(least)s)
          AND (pipeline_name, runs.status, id) < (wanted.job, also.status, %(below)s) AND {conditions}
    ORDER BY pipeline_name DESC, runs.status DESC, id DESC LIMIT {limit}) AS mine"""
_OF_IDS = "SELECT {columns} FROM runs WHERE id = ANY(%(ids)s) AND {conditions} ORDER BY id DESC LIMIT {limit}"
_FIRST_IDS, _MORE_IDS = 256, 20_000  # of a trigger's runs, how many are looked at together


class Page:
    """The runs that pass a filter, or one page of them: the index ranges in which they are looked for, and the rows."""

    def __init__(
        self,
        connection: Connection,
        *,
        view: View,
        filter_by: RunFilter,
        limit: int | None = None,
        below: int | None = None,
    ) -> None:
        self._connection = connection
        self._view = view
        self._filter = filter_by
        self._limit = limit
        self._planned_once = limit is not None
        self._parameters: dict[str, Any] = {
            "below": below if below is not None else _NO_BOUND,
            "least": 0,
            "pipelines": sorted(filter_by.pipelines or ()),
            "statuses": filter_by.dagster_statuses,
            "triggers": sorted(filter_by.triggers),
            "since": filter_by.since,
            "until": filter_by.until,
            **view.parameters,
        }

    def fetch(self, statement: str) -> list[Row]:
        """Return the rows of a statement over ``{runs}``: the runs, or the newest `limit` of each of their ranges."""
        if self._filter.pipelines is not None and not self._filter.pipelines:
            return []
        self._bound_by_dates()
        if self._filter.triggers:
            below = self._parameters["below"]
            ids = self._view.runs_of(self._filter.triggers, below=below)
            if ids is not None:
                return self._fetch_of_ids(statement, ids)
        return self._fetch(statement, [self._range(), *self._long_waits()])

    def _fetch(self, statement: str, ranges: Sequence[str]) -> list[Row]:
        runs = " UNION ALL ".join(f"({one})" for one in ranges)
        # Without names: up to 500 rows of a page would be given theirs.
        read = self._connection.prepared_tuples if self._planned_once else self._connection.rows
        return list(read(statement.format(runs=runs, limit=self._limit), self._parameters))

    def _select(self, walk: str, *, conditions: str) -> str:
        """Return the select of one walk. It has its limit as a number: a plan for any limit would be one for many."""
        return walk.format(columns=_COLUMNS, conditions=conditions, limit="ALL" if self._limit is None else self._limit)

    def _fetch_of_ids(self, statement: str, ids: Iterator[int]) -> list[Row]:
        """Look at some of these runs at a time, until the page is full; all at once if everything is wanted."""
        limit, least = self._limit, self._parameters["least"]
        ids = takewhile(lambda run: run >= least, ids)
        these = self._select(_OF_IDS, conditions=self._conditions("id < %(below)s"))
        if limit is None:
            self._parameters["ids"] = list(ids)
            return self._fetch(statement, [these, *self._long_waits()])
        found: list[Row] = []
        at_once = _FIRST_IDS
        while len(found) < limit and (some := list(islice(ids, at_once))):
            self._parameters["ids"] = some
            found += self._fetch(statement, [these])
            at_once = _MORE_IDS
        if len(found) < limit and (waits := self._long_waits()):
            found += self._fetch(statement, waits)
        return found[:limit]

    def _range(self) -> str:
        """Return the select of all runs in the range of ids that pass the filter, by the index that fits best."""
        jobs = None
        if self._filter.pipelines is not None:
            jobs = self._view.jobs_of(self._filter.pipelines)
        if jobs is None and not self._filter.statuses:
            return self._select(_ALL, conditions=self._conditions(_BOUNDS))
        but = {"statuses"}
        if jobs is None:
            walk = _OF_STATUS
        else:
            self._parameters["jobs"] = list(jobs.names)
            walk = _OF_JOB_AND_STATUS if self._filter.statuses else _OF_JOB
            but |= {"pipelines"} if jobs.exclusive else set()
        conditions = self._conditions("true", but=but)
        if self._filter.statuses and conditions != "true":
            self._planned_once = False
            conditions = self._conditions(_BOUNDS, but=but)
        return self._select(walk, conditions=conditions)

    def _long_waits(self) -> list[str]:
        """Return the select of the runs below the range of ids that have started in it all the same."""
        if not self._parameters["least"]:
            return []
        where = self._conditions(f"id < %(below)s AND id < %(least)s AND {LONG_WAIT}")
        return [self._select(_ALL, conditions=where)]

    def _bound_by_dates(self) -> None:
        """Narrow the range of ids to what can lie between the dates.

        A run's creation bounds its start from below, and creations come in the order of ids but for the stray that the
        outline knows. A start can be any time after the creation: runs that waited long are looked for by themselves.
        """
        if self._filter.until is not None:
            end = self._view.end_of_creation(self._connection, moment=self._filter.until)
            self._parameters["below"] = min(self._parameters["below"], _NO_BOUND if end is None else end)
        if self._filter.since is not None:
            self._parameters["least"] = self._view.begin_of_starts(self._connection, moment=self._filter.since)

    def _conditions(self, bounds: str, *, but: Collection[str] = ()) -> str:
        """Return what must hold of a run, but for what the select sees to by itself.

        There it must not be said twice: the planner would take it for a further restriction, and another index.
        """
        wanted = {
            "pipelines": (self._filter.pipelines is not None, f"{PIPELINE_OF_RUN} = ANY(%(pipelines)s)"),
            "statuses": (bool(self._filter.statuses), "runs.status = ANY(%(statuses)s)"),
            "triggers": (bool(self._filter.triggers), f"{TRIGGER_OF_RUN} = ANY(%(triggers)s)"),
            "since": (self._filter.since is not None, f"{_HAPPENED} >= %(since)s"),
            "until": (self._filter.until is not None, f"{_HAPPENED} < %(until)s"),
        }
        return " AND ".join([bounds, *(text for name, (asked, text) in wanted.items() if asked and name not in but)])


_NO_BOUND = (1 << 63) - 1


def _listed(row: Row) -> ListedRun:
    position, run_id, job_name, status, started, finished, tags = row[:7]
    tags = orjson.loads(tags) if tags else {}
    pipeline_id, trigger = _pipeline_id(tags, job_name=job_name), trigger_kind(tags, run_id=run_id)
    return ListedRun(position, run_id, pipeline_id, STATUS_OF[status], trigger, started, finished)


def _record(row: Row) -> RunRecord:
    return RunRecord(
        dagster_id=row.run_id,
        position=row.id,
        job_name=row.pipeline_name,
        snapshot_id=row.snapshot_id,
        status=STATUS_OF[row.status],
        dagster_status=row.status,
        queued_at=row.created.astimezone(UTC),
        started_at=_from_unix(row.start_time),
        finished_at=_from_unix(row.end_time),
        tags=orjson.loads(row.tags) if row.tags else {},
    )


def _pipeline_id(tags: Mapping[str, str], *, job_name: str) -> str:
    return tags.get(tag_names.PIPELINE_ID) or PIPELINE_PREFIX + job_name


def _from_unix(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
