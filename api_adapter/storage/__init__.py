"""Reads Dagster's record in Postgres with plain SQL; `Storage` is the room's one door."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import text

from api_adapter.storage.daemon import last_heartbeat
from api_adapter.storage.database import Database, open_database
from api_adapter.storage.events import EventError, read_events
from api_adapter.storage.graphs import GraphReader
from api_adapter.storage.logs import LogLevel, LogLine, LogPage, LogPosition, read_log
from api_adapter.storage.nodes import NodeRecord, NodeStatus, read_nodes
from api_adapter.storage.runs import FINISHED, STATUSES, RunFilter, RunReader, RunRecord, RunStatus, api_run_id

__all__ = [
    "FINISHED",
    "STATUSES",
    "EventError",
    "LogLevel",
    "LogLine",
    "LogPage",
    "LogPosition",
    "NodeRecord",
    "NodeStatus",
    "RunFilter",
    "RunRecord",
    "RunStatus",
    "Storage",
    "api_run_id",
    "open_storage",
]


class Storage:
    """What Dagster has recorded. Every method is one consistent read; `UnavailableError` if Postgres is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._runs = RunReader()
        self._graphs = GraphReader()

    def list_runs(self, filter_by: RunFilter, *, limit: int, below: int | None = None) -> Sequence[RunRecord]:
        """Return at most `limit` runs that pass the filter, newest first, starting under the position `below`."""
        with self._database.read() as connection:
            return self._runs.page(connection, filter_by=filter_by, limit=limit, below=below)

    def read_run(self, dagster_id: str) -> RunRecord | None:
        """Return a run, or None if there is none of this id."""
        with self._database.read() as connection:
            return self._runs.one(connection, dagster_id=dagster_id)

    def read_nodes(self, dagster_id: str) -> tuple[RunRecord, list[NodeRecord]] | None:
        """Return a run and every node of its graph, in topological order; None if there is no such run."""
        with self._database.read() as connection:
            run = self._runs.one(connection, dagster_id=dagster_id)
            if run is None:
                return None
            graph = self._graphs.nodes(connection, snapshot_id=run.snapshot_id)
            return run, read_nodes(connection, run=run, graph=graph)

    def read_failure(self, dagster_id: str) -> EventError | None:
        """Return the error that a run as a whole reported; None if it has not."""
        with self._database.read() as connection:
            events = read_events(connection, dagster_run_id=dagster_id, types={"PIPELINE_FAILURE"})
            if not events:
                return None
            return events[-1].error or EventError("RunFailure", events[-1].message)

    def read_log(
        self,
        dagster_id: str,
        *,
        limit: int,
        after: LogPosition,
        since: datetime | None,
        node_id: str | None,
        level: LogLevel,
    ) -> LogPage | None:
        """Return a page of a run's log; None if there is no such run."""
        with self._database.read() as connection:
            run = self._runs.one(connection, dagster_id=dagster_id)
            if run is None:
                return None
            return read_log(connection, run=run, limit=limit, after=after, since=since, node_id=node_id, level=level)

    def last_heartbeat(self) -> datetime | None:
        """Return when the daemon that launches queued runs last gave a sign of life; None if it never did."""
        with self._database.read() as connection:
            return last_heartbeat(connection)

    def ping(self) -> None:
        """Return if the database answers; `UnavailableError` if not."""
        with self._database.read() as connection:
            connection.execute(text("SELECT 1"))


@contextmanager
def open_storage(url: str) -> Iterator[Storage]:
    """Give the storage at a Postgres URL; it connects when first used."""
    database = open_database(url)
    try:
        yield Storage(database)
    finally:
        database.close()
