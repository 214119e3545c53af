"""Reads Dagster's record in Postgres with plain SQL; `Storage` is the room's one door."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from api_adapter.storage.backfills import (
    BackfillRecord,
    SliceRecord,
    backfill_tag,
    list_backfills,
    read_backfill,
    read_slices,
)
from api_adapter.storage.daemon import last_heartbeat, run_host_listens
from api_adapter.storage.database import Connection, Database, open_database
from api_adapter.storage.ends import RunEnd, read_end
from api_adapter.storage.events import EventError
from api_adapter.storage.executions import TriggerExecution, count_queued, list_executions
from api_adapter.storage.fires import FireRecord, last_fired_runs, list_fires
from api_adapter.storage.gauges import Gauges, read_gauges
from api_adapter.storage.graphs import GraphReader
from api_adapter.storage.lines import LogLevel, LogLine
from api_adapter.storage.logs import (
    LogFilter,
    LogHead,
    LogPage,
    LogState,
    has_writers,
    read_log,
    read_log_end,
    read_log_head,
    read_log_state,
    without_dead_gaps,
)
from api_adapter.storage.nodes import NodeRecord, read_nodes, with_reused
from api_adapter.storage.outline import Outline
from api_adapter.storage.output import Capture, read_captures
from api_adapter.storage.positions import LogPosition
from api_adapter.storage.runs import (
    FINISHED,
    STATUSES,
    ListedRun,
    RunFilter,
    RunRecord,
    RunRequest,
    RunState,
    RunStatus,
    TriggeredRun,
    list_runs,
    list_runs_at_once,
    parse_request,
    read_run,
    read_started_run,
    read_state,
    read_statuses,
)
from api_adapter.storage.schema import check_schema
from api_adapter.storage.statistics import Statistics, read_statistics
from api_adapter.storage.steps import Attempt, NodeStatus
from api_adapter.storage.upkeep import Upkeep
from api_adapter.storage.upstream import read_oldest_ends
from planasonix_orchestrator.contract.upstream import Awaited, UpstreamCursor

ResultT = TypeVar("ResultT")

__all__ = [
    "FINISHED",
    "STATUSES",
    "Attempt",
    "BackfillRecord",
    "Capture",
    "EventError",
    "FireRecord",
    "Gauges",
    "ListedRun",
    "LogFilter",
    "LogHead",
    "LogLevel",
    "LogLine",
    "LogPage",
    "LogPosition",
    "LogState",
    "NodeRecord",
    "NodeStatus",
    "RunEnd",
    "RunFilter",
    "RunRecord",
    "RunState",
    "RunStatus",
    "RunStory",
    "SliceRecord",
    "Statistics",
    "Storage",
    "TriggerExecution",
    "TriggeredRun",
    "backfill_tag",
    "open_storage",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStory:
    """A run, every node of its graph in topological order, the config it was started with, and how it ended."""

    run: RunRecord
    nodes: Sequence[NodeRecord]
    config: Mapping[str, Any]
    end: RunEnd


class Storage:
    """What Dagster has recorded. Every method is one consistent read.

    `UnavailableError` if Postgres is away, `UnknownSchemaError` if Dagster's tables are not those that we know.
    """

    def __init__(self, database: Database, *, outline: Outline) -> None:
        self._database = database
        self._outline = outline
        self._graphs = GraphReader()
        self._checked = False

    def list_runs(self, filter_by: RunFilter, *, limit: int, below: int | None = None) -> Sequence[ListedRun]:
        """Return at most `limit` runs that pass the filter, newest first, starting under the position `below`."""
        asked = partial(list_runs, outline=self._outline, filter_by=filter_by, limit=limit, below=below)
        at_once = partial(list_runs_at_once, outline=self._outline, filter_by=filter_by, limit=limit, below=below)
        found = None if filter_by.triggers else self._read_single(at_once)
        return self._read(asked) if found is None else found

    def read_run(self, dagster_id: str) -> RunRecord | None:
        """Return a run, or None if there is none of this id."""
        return self._read_single(lambda connection: read_run(connection, dagster_id=dagster_id))

    def read_nodes(
        self, dagster_id: str, *, known: RunState | None = None
    ) -> tuple[RunRecord, list[NodeRecord]] | None:
        """Return a run and every node of its graph, in topological order; None if there is no such run.

        `known` is the run as it was read before; once it has finished, only the rest is read.
        """

        def tell(connection: Connection, run: RunRecord, request: RunRequest) -> tuple[RunRecord, list[NodeRecord]]:
            return run, self._nodes(connection, run=run, request=request)

        return self._read_run_and(tell, dagster_id=dagster_id, known=known)

    def read_story(self, dagster_id: str, *, known: RunState | None = None) -> RunStory | None:
        """Return all that is known of a run; None if there is no such run. `known` is as for `read_nodes`."""

        def tell(connection: Connection, run: RunRecord, request: RunRequest) -> RunStory:
            return RunStory(
                run=run,
                nodes=self._nodes(connection, run=run, request=request),
                config=request.config,
                end=read_end(connection, run=run),
            )

        return self._read_run_and(tell, dagster_id=dagster_id, known=known)

    def _read_run_and(
        self,
        tell: Callable[[Connection, RunRecord, RunRequest], ResultT],
        *,
        dagster_id: str,
        known: RunState | None,
    ) -> ResultT | None:
        if known is not None and known.run.finished:  # its events stay as they are: no need for a snapshot
            return self._read_single(lambda connection: tell(connection, known.run, parse_request(known.body)))

        def read(connection: Connection) -> ResultT | None:
            found = read_started_run(connection, dagster_id=dagster_id)
            return tell(connection, *found) if found is not None else None

        return self._read(read)

    def _nodes(self, connection: Connection, *, run: RunRecord, request: RunRequest) -> list[NodeRecord]:
        graph = self._graphs.nodes(connection, snapshot_id=run.snapshot_id)
        nodes = read_nodes(connection, run=run, graph=graph, chosen=request.steps)
        found = read_started_run(connection, dagster_id=run.reuses) if run.reuses else None
        if found is None:
            return nodes
        parent, of_parent = found
        return with_reused(
            nodes,
            graph=graph,
            chosen=request.steps,
            of_parent=self._nodes(connection, run=parent, request=of_parent),
            parent_id=parent.id,
        )

    def read_state(self, dagster_id: str) -> RunState | None:
        """Return a run and how far its events go: while neither changes, nothing that is told of it does."""
        return self._read_single(lambda connection: read_state(connection, dagster_id=dagster_id))

    def read_statuses(self, dagster_ids: Collection[str]) -> Mapping[str, RunStatus]:
        """Return the statuses of these runs, those left out that do not exist."""
        return self._read_single(lambda connection: read_statuses(connection, dagster_ids=dagster_ids))

    def list_backfills(
        self, *, visible: frozenset[str] | None, pipeline_id: str | None, limit: int, below: str | None = None
    ) -> Sequence[BackfillRecord]:
        """Return at most `limit` backfills of these pipelines (None: of all), newest first, starting under `below`."""
        return self._read(
            lambda connection: list_backfills(
                connection, visible=visible, pipeline_id=pipeline_id, limit=limit, below=below
            )
        )

    def read_backfill(self, backfill_id: str) -> tuple[BackfillRecord, Sequence[SliceRecord]] | None:
        """Return a backfill and its slices, the earliest first; None if there is none of this id."""

        def read(connection: Connection) -> tuple[BackfillRecord, Sequence[SliceRecord]] | None:
            record = read_backfill(connection, backfill_id=backfill_id)
            return (record, read_slices(connection, backfill_id=backfill_id)) if record else None

        return self._read(read)

    def read_slices(self, backfill_id: str) -> Sequence[SliceRecord]:
        """Return the slices of a backfill, the earliest first, each with its newest run."""
        return self._read_single(lambda connection: read_slices(connection, backfill_id=backfill_id))

    def list_executions(
        self, trigger_id: str, *, status: RunStatus | None, limit: int, below: int | None = None
    ) -> Sequence[TriggerExecution]:
        """Return at most `limit` runs that a trigger has started, newest first, starting under the position `below`."""
        return self._read(
            lambda connection: list_executions(
                connection, trigger_id=trigger_id, status=status, limit=limit, below=below
            )
        )

    def count_queued(self, *, most: int) -> int:
        """Return how many runs wait for capacity, counting to `most` and no further."""
        return self._read_single(lambda connection: count_queued(connection, most=most))

    def read_statistics(self, filter_by: RunFilter) -> Statistics:
        """Return how the runs that pass the filter have ended, by day, and how long they took."""
        return self._read(lambda connection: read_statistics(connection, outline=self._outline, filter_by=filter_by))

    def read_log_head(self, dagster_id: str) -> LogHead | None:
        """Return a run and how far its log goes: while neither changes, nothing that is told of its log does."""
        return self._read_single(lambda connection: read_log_head(connection, run_id=dagster_id))

    def read_log(
        self,
        dagster_id: str,
        *,
        limit: int,
        after: LogPosition = LogPosition(),  # noqa: B008  (immutable)
        filter_by: LogFilter = LogFilter(),  # noqa: B008
        head: LogHead | None = None,
    ) -> LogPage | None:
        """Return at most `limit` lines of a run's log that follow a position; None if there is no such run.

        `head` is what was read of it before; of a log that was complete by then only the lines are read.
        """
        asked = partial(read_log, run_id=dagster_id, after=after, filter_by=filter_by, limit=limit, head=head)
        page = self._read_single(asked)
        return page and replace(page, after=self._without_dead_gaps(dagster_id, page.after))

    def read_log_end(self, dagster_id: str) -> LogPosition:
        """Return the position of one who has read all of a run's log that there is now."""
        end = self._read(lambda connection: read_log_end(connection, run_id=dagster_id))
        return self._without_dead_gaps(dagster_id, end)

    def read_log_state(self, dagster_id: str, *, missing: Sequence[int] = ()) -> LogState | None:
        """Return how far a run has come, and whether a missing event is there now; None if there is no such run."""
        return self._read_single(lambda connection: read_log_state(connection, run_id=dagster_id, missing=missing))

    def read_captures(self, dagster_id: str, *, node_id: str | None = None) -> Sequence[Capture]:
        """Return where the raw output of a run's processes, or of those that ran a node, was captured, in order."""
        return self._read_single(lambda connection: read_captures(connection, run_id=dagster_id, node_id=node_id))

    def list_fires(
        self, selector_id: str, *, limit: int, below: int | None = None
    ) -> tuple[Sequence[FireRecord], int | None]:
        """Return at most `limit` fires of a schedule, newest first, those before `below`, and where to go on.

        `selector_id` is Dagster's key to it; positions are unix seconds.
        """
        return self._read(lambda connection: list_fires(connection, selector_id=selector_id, limit=limit, below=below))

    def last_fired_runs(self, selector_ids: Sequence[str]) -> Mapping[str, datetime]:
        """Return when fires of these schedules last started runs; those that never did are left out."""
        return self._read_single(lambda connection: last_fired_runs(connection, selector_ids=selector_ids))

    def last_heartbeat(self) -> datetime | None:
        """Return when Dagster's daemon last gave a sign of life; None if it never did."""
        return self._read_single(last_heartbeat)

    def run_host_listens(self) -> bool:
        """Tell whether a run host is at work."""
        return self._read_single(run_host_listens)

    def gauges(self, *, now: datetime) -> Gauges:
        """Return how many runs there are in each state, and since when the oldest ones wait."""
        return self._read_single(lambda connection: read_gauges(connection, now=now))

    def oldest_ends(self, waiting: Mapping[str, tuple[UpstreamCursor, Awaited]]) -> Mapping[str, datetime]:
        """Return when the oldest run ended that an upstream trigger has not seen; by its id, of those that have one."""
        return self._read_single(lambda connection: read_oldest_ends(connection, waiting=waiting))

    def check(self) -> None:
        """Return if the database answers and Dagster's tables are those that we know."""
        self._database.read(check_schema)

    def _without_dead_gaps(self, dagster_id: str, position: LogPosition) -> LogPosition:
        if not position.missing or self._read_single(has_writers):
            return position
        return self._read_single(lambda connection: without_dead_gaps(connection, run_id=dagster_id, position=position))

    def _read(self, work: Callable[[Connection], ResultT]) -> ResultT:
        self._check_once()
        return self._database.read(work)

    def _read_single(self, work: Callable[[Connection], ResultT]) -> ResultT:
        self._check_once()
        return self._database.read_single(work)

    def _check_once(self) -> None:
        if not self._checked:
            self._database.read(check_schema)
            self._checked = True


@contextmanager
def open_storage(url: str) -> Iterator[Storage]:
    """Give the storage at a Postgres URL; it connects when first used, and does its upkeep in the background."""
    database = open_database(url)
    outline = Outline()
    upkeep = Upkeep(url, outline=outline)
    upkeep.start()
    try:
        yield Storage(database, outline=outline)
    finally:
        upkeep.stop()
        database.close()
