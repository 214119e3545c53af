"""Acts on Dagster: knows its code location, starts and cancels runs; `Control` is the room's one door."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Literal

from api_adapter.control.blueprints import Blueprints
from api_adapter.control.cancel import Reconciler, drives_intents
from api_adapter.control.catalog import Catalog, LoadedTrigger, read_catalog
from api_adapter.control.code_location import DagsterConnection, Loaded
from api_adapter.control.database import Database
from api_adapter.control.fires import fire_before, fires_around, next_fires
from api_adapter.control.orders import Idempotency, RetryOrder, RunOrder, StartedRun
from api_adapter.control.output import Output, OutputStream, OutputUrl
from api_adapter.control.queueing import Queue
from api_adapter.control.retry import Retrier
from api_adapter.control.start import Starter
from api_adapter.control.switches import Evaluation, Switch, Switches
from api_adapter.settings import ApiSettings

__all__ = [
    "CancelOutcome",
    "Catalog",
    "Control",
    "Evaluation",
    "Idempotency",
    "LoadedTrigger",
    "Output",
    "OutputStream",
    "OutputUrl",
    "RetryOrder",
    "RunOrder",
    "StartedRun",
    "Switch",
    "Switches",
    "fire_before",
    "fires_around",
    "next_fires",
    "open_control",
]


# What a wish to cancel a run has met: a run that had ended, or none; otherwise it stands.
CancelOutcome = Literal["requested", "canceled", "succeeded", "failed", "unknown"]


class Control:
    """What can be done with pipelines and runs. `UnavailableError` while a part of Dagster is away.

    `output` is the raw output of runs, `switches` those of schedules and triggers.
    """

    def __init__(self, connection: DagsterConnection, *, database: Database, reconciler: Reconciler) -> None:
        self.output = Output(connection)
        self.switches = Switches(connection)
        self._connection = connection
        self._reconciler = reconciler
        queue = Queue(connection, database=database)
        blueprints = Blueprints()
        self._starter = Starter(connection, blueprints=blueprints, queue=queue, catalog_of=self._catalog_of)
        self._retrier = Retrier(
            connection, database=database, blueprints=blueprints, queue=queue, catalog_of=self._catalog_of
        )
        self._catalog: tuple[str, Catalog] | None = None
        self._lock = Lock()

    def catalog(self) -> Catalog:
        """Return the pipelines as the code server has them loaded now."""
        return self._catalog_of(self._connection.loaded())

    def start(self, order: RunOrder, *, at: datetime) -> StartedRun:
        """Queue a run of a pipeline; nothing is created unless all of it is right.

        `IdempotencyConflictError` if the key of the request stands for another one.
        """
        return self._starter.start(order, at=at)

    def start_all(self, orders: Mapping[str, RunOrder], *, at: datetime) -> bool:
        """Queue runs by their Dagster ids, in this order: all or none. They share the key of the request, if any.

        True if an earlier request of the same key has done so; `IdempotencyConflictError` if that was another one. Such
        requests must give their first runs the same id.
        """
        return self._starter.start_all(orders, at=at)

    def retry(self, order: RetryOrder, *, at: datetime) -> StartedRun:
        """Queue a retry of a run that has failed or was canceled; the same one for all who ask while it goes on.

        `RunNotRetryableError` or `RetryUnderWayError` if there can be none.
        """
        return self._retrier.retry(order, at=at)

    def cancel(self, dagster_run_id: str, *, user: str, at: datetime) -> CancelOutcome:
        """Store that a run be canceled, which it will be, whatever happens, unless it has ended before.

        The first who asks for it, `user`, stands on the run.
        """
        return _outcome(self._reconciler.request(dagster_run_id, by=user, at=at))

    def cancel_many(self, dagster_run_ids: Iterable[str], *, user: str, at: datetime) -> Mapping[str, CancelOutcome]:
        """Do so for many runs; return what has become of each wish."""
        found = self._reconciler.request_many(dagster_run_ids, by=user, at=at)
        return {run_id: _outcome(status) for run_id, status in found.items()}

    @property
    def has_run_host(self) -> bool:
        """Whether a run host of ours takes the runs from the queue; `UnavailableError` if Postgres is away."""
        return drives_intents(self._connection.instance())

    def check(self) -> None:
        """Return if the code location is there and loaded; `UnavailableError` if not."""
        self._connection.loaded()

    def _catalog_of(self, loaded: Loaded) -> Catalog:
        with self._lock:
            if self._catalog is None or self._catalog[0] != loaded.version:
                published = loaded.repository.repository_snap.metadata or {}
                self._catalog = (loaded.version, read_catalog(published))
            return self._catalog[1]


@contextmanager
def open_control(settings: ApiSettings) -> Iterator[Control]:
    """Give the control of the Dagster that the settings name; it connects when first used."""
    connection = DagsterConnection(settings)
    database = Database(settings.postgres_url)
    reconciler = Reconciler(connection, database=database)
    reconciler.start()
    try:
        yield Control(connection, database=database, reconciler=reconciler)
    finally:
        reconciler.close()
        connection.close()
        database.close()


_ENDED: Mapping[str | None, CancelOutcome] = {
    None: "unknown",
    "CANCELED": "canceled",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
}


def _outcome(dagster_status: str | None) -> CancelOutcome:
    return _ENDED.get(dagster_status, "requested")
