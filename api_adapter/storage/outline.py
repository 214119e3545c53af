"""What lists must know of the table of runs as a whole, and no index of Dagster's tells.

Which jobs are whose, what started which run, and how creation times follow ids: found by looking once at every run, and
kept up by looking at the new ones. It takes 8 bytes a run. Lists work without it too, only slower, so that nobody waits
for the first look at a large table.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import merge
from threading import Lock

from api_adapter.storage.database import Connection, Row
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import PIPELINE_PREFIX
from planasonix_orchestrator.contract.origins import DAGSTER_TRIGGERS, PARENT

# A run that waited long between its creation and its start; an index holds these. The creation is a naive time.
LONG_WAIT = "start_time - date_part('epoch', create_timestamp) > 3600"
_LONGEST_SHORT_WAIT = timedelta(hours=1) + timedelta(hours=15)  # with the widest offset of a naive time from UTC

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

_OVERLAP = 100  # ids become visible out of order: look again at this many before the last one seen
_AT_ONCE = 10_000
_MOST_HALVINGS = 256

# A column: whether there are runs that a `View` has not seen, newer ones or such that have become visible since.
NEWS = """(coalesce((SELECT max(id) FROM runs) > %(newest)s, false)
    OR EXISTS (SELECT FROM runs WHERE id = ANY(%(missing)s::bigint[]))) AS news"""

# A scalar subquery, since the planner would turn EXISTS into a join with the tags of all runs.
PIPELINE_OF_RUN = f"""coalesce(
    (SELECT value FROM run_tags WHERE run_tags.run_id = runs.run_id AND key = '{tag_names.PIPELINE_ID}'
     ORDER BY run_tags.id DESC LIMIT 1), '{PIPELINE_PREFIX}' || pipeline_name)"""

TRIGGER_KEYS = (tag_names.TRIGGER, tag_names.TAGS_OF, *DAGSTER_TRIGGERS)
# `origins.trigger_kind` says the same in Python.
_NAMED = f"max(value) FILTER (WHERE key = '{tag_names.TRIGGER}' AND value IN {tag_names.TRIGGER_KINDS})"
_TRIGGER_OF_TAGS = f"""CASE
    WHEN bool_or(key = '{PARENT}') AND NOT bool_or(key = 'dagster/backfill')
         AND min(run_id) IS DISTINCT FROM max(value) FILTER (WHERE key = '{tag_names.TAGS_OF}') THEN 'retry'
    WHEN {_NAMED} IS NOT NULL THEN {_NAMED}
    {" ".join(f"WHEN bool_or(key = '{tag}') THEN '{kind}'" for tag, kind in DAGSTER_TRIGGERS.items())}
    ELSE 'manual' END"""
TRIGGER_OF_RUN = f"(SELECT {_TRIGGER_OF_TAGS} FROM run_tags WHERE run_tags.run_id = runs.run_id)"
_CREATED = "create_timestamp::timestamptz"

_ALL_JOBS = f"""
SELECT DISTINCT coalesce(tags.value, '{PIPELINE_PREFIX}' || pipeline_name) AS pipeline_id,
       pipeline_name
FROM runs LEFT JOIN run_tags AS tags ON tags.run_id = runs.run_id AND tags.key = '{tag_names.PIPELINE_ID}'"""
_ALL_TIMES = f"""
SELECT max(id) AS newest, max(created) AS latest, max(highest - created) AS stray
FROM (SELECT id, {_CREATED} AS created, max({_CREATED}) OVER (ORDER BY id) AS highest FROM runs) AS told"""
# Dagster writes a run, and a moment later its tags: until then nobody knows what the run is.
_TOLD = f"""({_CREATED} < now() - interval '10 seconds'
    OR EXISTS (SELECT FROM run_tags AS told WHERE told.run_id = runs.run_id))"""
_ALL_TRIGGERS = f"""
WITH told AS (
    SELECT run_id, {_TRIGGER_OF_TAGS} AS trigger FROM run_tags WHERE key = ANY(%(keys)s) GROUP BY run_id
)
SELECT coalesce(trigger, 'manual') AS trigger, string_agg(int8send(id), ''::bytea ORDER BY id) AS ids
FROM runs LEFT JOIN told ON told.run_id = runs.run_id WHERE {_TOLD} GROUP BY 1"""
_VISIBLE = "SELECT id FROM runs WHERE id > %(after)s ORDER BY id LIMIT %(most)s"
_THESE = f"""
SELECT id, pipeline_name, {_CREATED} AS created, {PIPELINE_OF_RUN} AS pipeline_id,
       {TRIGGER_OF_RUN} AS trigger, {_TOLD} AS told
FROM runs WHERE id = ANY(%(ids)s) ORDER BY id"""
_RECENT = f"SELECT id FROM runs WHERE id > %(after)s AND {_TOLD}"
_UNTOLD = f"SELECT id FROM runs WHERE id > %(after)s AND NOT {_TOLD}"

# Halves the range of ids until it is small. `lo` is always a run that was created before the moment, or no run; the
# first run from `hi` on is always one that was not.
_BISECT = f"""
WITH RECURSIVE halving(lo, hi) AS (
    SELECT 0::bigint, %(newest)s::bigint + 1
    UNION ALL
    SELECT CASE WHEN run.early THEN run.id ELSE lo END, CASE WHEN run.early THEN hi ELSE middle END
    FROM halving CROSS JOIN LATERAL (SELECT (lo + hi) / 2 AS middle) AS half
    LEFT JOIN LATERAL (
        SELECT id, {_CREATED} < %(moment)s AS early FROM runs WHERE id >= middle AND id < hi ORDER BY id LIMIT 1
    ) AS run ON true
    WHERE hi - lo > 16
)
SELECT lo, hi FROM halving ORDER BY hi - lo LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Jobs:
    """Names of jobs; `exclusive` if no run of these jobs was of another pipeline than those that were asked for."""

    names: tuple[str, ...]
    exclusive: bool


@dataclass(slots=True)
class _Known:
    """What was seen up to the run `newest`; `stray` is by how much a run was ever created before an older one.

    `recent` are the newest runs that were seen, `untold` those of which nobody knows yet what they will be.
    `jobs` are by pipeline, `owners` pipelines by job; `triggers` has the ids of each trigger's runs, ascending, and is
    None as long as they have not been looked at.
    """

    newest: int
    latest: datetime
    stray: timedelta
    jobs: dict[str, set[str]] = field(default_factory=dict)
    owners: dict[str, set[str]] = field(default_factory=dict)
    triggers: "dict[str, array[int]] | None" = None
    recent: set[int] = field(default_factory=set)
    untold: set[int] = field(default_factory=set)

    @property
    def missing(self) -> list[int]:
        """The ids up to `newest` of runs that were not seen: they are not there yet, or for ever, or not told yet."""
        lately = range(max(self.newest - _OVERLAP, 0) + 1, self.newest + 1)
        return [*(run for run in lately if run not in self.recent), *self.untold.difference(lately)]

    def add_job(self, job: str, *, pipeline_id: str) -> None:
        self.jobs.setdefault(pipeline_id, set()).add(job)
        self.owners.setdefault(job, set()).add(pipeline_id)

    def expect(self, run: Row) -> None:
        """Have a run found by its pipeline, which may still change, and by its date."""
        self.add_job(run.pipeline_name, pipeline_id=run.pipeline_id)
        self.stray = max(self.stray, self.latest - run.created)
        self.latest = max(self.latest, run.created)

    def wait_for(self, untold: Iterable[Row], *, of: Collection[int]) -> None:
        """Look again for those of some runs that are not told yet; the others were seen, or are gone."""
        self.untold.difference_update(of)
        for run in untold:
            self.untold.add(run.id)
            self.expect(run)

    def see(self, runs: Iterable[Row]) -> None:
        for run in runs:
            if run.id in self.recent or not (run.id > self.newest - _OVERLAP or run.id in self.untold):
                continue
            self.expect(run)
            if self.triggers is not None:
                _add(run.id, to=self.triggers.setdefault(run.trigger, array("q")))
            self.newest = max(self.newest, run.id)
            self.recent.add(run.id)
        self.recent = {run for run in self.recent if run > self.newest - _OVERLAP}


class View:
    """The outline as it is for one reader; of a table that it does not know yet it tells nothing.

    It may be behind: `NEWS`, with `parameters`, tells in the same statement whether there are runs it has not seen.
    """

    def __init__(self, known: _Known | None, *, halvings: dict[datetime, Row], lock: Lock) -> None:
        self._known = known
        self._halvings = halvings
        self._lock = lock
        with lock:
            self._newest = known.newest if known else 0
            self._stray = known.stray if known else timedelta()
            missing = known.missing if known else []
        self.parameters: dict[str, object] = {"newest": self._newest, "missing": missing}

    @property
    def knows(self) -> bool:
        """Whether the table has been looked at."""
        return self._known is not None

    def has_news(self, connection: Connection) -> bool:
        """Tell whether there are runs now that the view has not seen."""
        return self.knows and bool(connection.prepared_rows(f"SELECT {NEWS}", self.parameters)[0].news)

    def jobs_of(self, pipelines: Collection[str]) -> Jobs | None:
        """Return the jobs that have run for these pipelines, under old names too; None if not known."""
        known = self._known
        if known is None:
            return None
        with self._lock:
            names = set[str]().union(*(known.jobs.get(pipeline, ()) for pipeline in pipelines))
            return Jobs(tuple(sorted(names)), exclusive=all(known.owners[name] <= set(pipelines) for name in names))

    def runs_of(self, triggers: Collection[str], *, below: int) -> Iterator[int] | None:
        """Return the ids below `below` of the runs that these have started, the newest first; None if not known.

        Runs that have not been told yet are among them: what they are now, the record says.
        """
        known = self._known
        if known is None or known.triggers is None:
            return None
        with self._lock:
            found = [ids[: bisect_left(ids, below)] for kind, ids in known.triggers.items() if kind in triggers]
            untold = sorted(run for run in known.untold if run < below)
        return merge(*(reversed(ids) for ids in (*found, untold)), reverse=True)

    def end_of_creation(self, connection: Connection, *, moment: datetime) -> int | None:
        """Return an id such that no run from it on was created before the moment; None if none is known."""
        if not self.knows or moment > _LAST - self._stray:
            return None
        hi: int = self._halve(connection, moment=moment + self._stray).hi
        return hi

    def begin_of_starts(self, connection: Connection, *, moment: datetime) -> int:
        """Return an id such that runs before it were created before the moment, and started since only if `LONG_WAIT`.

        0 if none is known.
        """
        if not self.knows or moment < _FIRST + _LONGEST_SHORT_WAIT + self._stray:
            return 0
        lo: int = self._halve(connection, moment=moment - _LONGEST_SHORT_WAIT - self._stray).lo
        return lo

    def _halve(self, connection: Connection, *, moment: datetime) -> Row:
        """Return the bounds of a moment. Those of a moment that has passed stay true, whatever runs come."""
        kept = self._halvings.get(moment)
        if kept is not None:
            return kept
        found = connection.rows(_BISECT, {"newest": self._newest, "moment": moment})[0]
        if found.hi <= self._newest - _OVERLAP:
            if len(self._halvings) >= _MOST_HALVINGS:
                self._halvings.clear()
            self._halvings[moment] = found
        return found


class Outline:
    """The outline of one database's runs, shared by all its readers."""

    def __init__(self) -> None:
        self._known: _Known | None = None
        self._halvings: dict[datetime, Row] = {}
        self._lock = Lock()

    def look(self, connection: Connection) -> None:
        """Look at every run: some seconds for a million, most of them for the triggers, which are known last.

        Before it has been called, nothing is known.
        """
        with connection.snapshot():
            known = _first_look(connection)
            with self._lock:  # what is known for now learns of new runs, which the rest of the look does not see
                self._known = replace(known, recent=set(known.recent), untold=set(known.untold))
            known.triggers = {}
            for told in connection.rows(_ALL_TRIGGERS, {"keys": list(TRIGGER_KEYS)}):
                known.triggers[told.trigger] = ids = array("q", bytes(told.ids))
                ids.byteswap()  # Postgres sends the highest byte first
        with self._lock:
            self._known = known

    def view(self) -> View:
        """Return what is known now, without asking whether there is more."""
        return View(self._known, halvings=self._halvings, lock=self._lock)

    def fresh_view(self, connection: Connection) -> View:
        """Return what is known after a look at the runs that are new in the reader's snapshot."""
        known = self._known
        while known is not None:
            visible = _visible(connection, known)
            with self._lock:
                fresh = {run.id for run in visible} - known.recent | known.untold
            found = connection.rows(_THESE, {"ids": sorted(fresh)}) if fresh else ()
            seen = [run for run in found if run.told]
            with self._lock:
                known.see(seen)
                known.wait_for([run for run in found if not run.told], of=fresh)
            if not seen or len(visible) < _AT_ONCE:
                break
        return View(known, halvings=self._halvings, lock=self._lock)


def _add(run: int, *, to: "array[int]") -> None:
    """Add an id in its place, once: two readers may have seen the same run."""
    place = bisect_left(to, run)
    if to[place : place + 1] != array("q", [run]):
        to.insert(place, run)


def _first_look(connection: Connection) -> _Known:
    """Return what a look at all runs tells, but for their triggers."""
    ((newest, latest, stray),) = connection.rows(_ALL_TIMES)
    known = _Known(newest or 0, latest or datetime.min.replace(tzinfo=UTC), stray or timedelta())
    for job in connection.rows(_ALL_JOBS):
        known.add_job(job.pipeline_name, pipeline_id=job.pipeline_id)
    known.recent = {run.id for run in connection.rows(_RECENT, {"after": known.newest - _OVERLAP})}
    # Of the last ten seconds, so that they are among the newest.
    known.untold = {run.id for run in connection.rows(_UNTOLD, {"after": known.newest - _AT_ONCE})}
    return known


def _visible(connection: Connection, known: _Known) -> list[Row]:
    return list(connection.prepared_rows(_VISIBLE, {"after": known.newest - _OVERLAP, "most": _AT_ONCE}))
