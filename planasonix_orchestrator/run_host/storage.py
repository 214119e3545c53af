"""The Dagster instance of a run's worker: its events in batches, its end decided under the lock of the run's row."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from logging import INFO
from typing import Any, Final, NoReturn, cast
from uuid import uuid4

import yaml

# A storage stands inside Dagster by nature: it subclasses Dagster's own, and those speak of these.
from dagster import (
    Bool,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    EventLogEntry,
    Field,
    Float,
)
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    EngineEventData,
)
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.config import pg_config
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._time import datetime_from_timestamp
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config
from sqlalchemy import Connection, text

from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.run_host.database import Database, DatabaseGoneError
from planasonix_orchestrator.run_host.event_buffer import Batch, EventBuffer
from planasonix_orchestrator.run_host.transitions import ENDS, STARTS, LockedRun

__all__ = [
    "DatabaseGoneError",
    "RunNotWantedError",
    "UnsupportedStorageError",
    "open_host_instance",
    "open_worker_instance",
    "prepare_for_fork",
    "warm_up",
]

CANCELED_FIRST: Final = "The run was canceled before it could end otherwise."
_PATIENCE_SECONDS: Final = 60.0
# Who stores one of these goes on only when it is on disk.
_DECIDING: Final = frozenset(
    {
        DagsterEventType.STEP_SUCCESS,
        DagsterEventType.STEP_FAILURE,
        DagsterEventType.STEP_UP_FOR_RETRY,
        *EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    }
)


class RunNotWantedError(PlanasonixError):
    """A run that must not start: it was canceled, has ended, or another worker has started it."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} was canceled, has ended, or runs elsewhere")
        self.run_id = run_id


class _RehearsalOver(Exception):  # noqa: N818  # it is no error
    """Undoes what was rehearsed."""


class UnsupportedStorageError(PlanasonixError):
    """An instance that keeps its runs elsewhere than in Dagster's tables in Postgres."""

    def __init__(self, class_name: str) -> None:
        super().__init__(f"dagster.yaml must have `storage: postgres`; it names {class_name}")


def open_worker_instance(dagster_home: str, *, patience: float = _PATIENCE_SECONDS) -> DagsterInstance:
    """Return the instance that `dagster_home` describes, for a process that executes a run.

    It behaves as Dagster's own, but for this. An event nobody waits for is on disk within 0.1 s; `dispose` writes what
    waits. A run's status changes together with the event that says so, or not at all: a run that was canceled, has
    ended or was started before does not start (`RunNotWantedError`), and one that was canceled does not end otherwise.
    That it is canceled is never recorded here, but by the run host when the worker is gone. Postgres may be away for
    `patience` seconds (`DatabaseGoneError`).
    """
    return _open(dagster_home, patience=patience, may_cancel=False)


def open_host_instance(dagster_home: str, *, patience: float = _PATIENCE_SECONDS) -> DagsterInstance:
    """Return an instance like a worker's, but for the run host, which also records that a run was canceled."""
    return _open(dagster_home, patience=patience, may_cancel=True)


def _open(dagster_home: str, *, patience: float, may_cancel: bool) -> DagsterInstance:
    ref = InstanceRef.from_dir(dagster_home)
    stock = ref.storage_data
    if stock is None or stock.class_name != "DagsterPostgresStorage":
        raise UnsupportedStorageError(stock.class_name if stock else "none")
    config = {**yaml.safe_load(stock.config_yaml), "patience_seconds": patience, "may_cancel": may_cancel}
    ours = ConfigurableClassData(__name__, WorkerStorage.__name__, yaml.safe_dump(config))
    instance = DagsterInstance.from_ref(ref._replace(storage_data=ours))
    _event_log(instance).rehearse()
    _read(instance)
    return instance


def prepare_for_fork(instance: DagsterInstance) -> None:
    """Close all connections and end the thread of an instance that was opened here, so that the process may fork."""
    instance.dispose()


def warm_up(instance: DagsterInstance) -> None:
    """Open the connection of an instance that was opened here, before the first statement needs it."""
    _event_log(instance).warm_up()
    _read(instance)


def _read(instance: DagsterInstance) -> None:
    """Read what each run reads first, of a run that does not exist."""
    instance.get_run_by_id("")
    instance.run_storage.get_job_snapshot("")


def _event_log(instance: DagsterInstance) -> "WorkerEventLogStorage":
    storage = instance.event_log_storage
    if not isinstance(storage, WorkerEventLogStorage):
        raise TypeError("the instance was not opened by open_worker_instance")
    return storage


class WorkerStorage(DagsterStorage[DagsterInstance], ConfigurableClass):
    """Dagster's storage in Postgres with our own runs and events, which share one pool of connections."""

    def __init__(self, config: Mapping[str, Any], *, inst_data: ConfigurableClassData | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster left it out
        self._inst_data = inst_data
        url = pg_url_from_config(config)
        provider = get_token_provider_from_config(config)
        database = Database(url, patience=config["patience_seconds"], token_provider=provider)
        common = {"should_autocreate_tables": config["should_autocreate_tables"], "token_provider": provider}
        self._runs = WorkerRunStorage(url, database=database, **common)
        may_cancel = config["may_cancel"]
        self._events = WorkerEventLogStorage(url, database=database, runs=self._runs, may_cancel=may_cancel, **common)
        self._schedules = PostgresScheduleStorage(url, **common)

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """How the storage was configured, with which another process can build its like."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        """Describe the config: that of Dagster's own storage, and what `open_worker_instance` adds."""
        stock = cast("Mapping[str, Any]", pg_config())
        return {**stock, "patience_seconds": Field(Float), "may_cancel": Field(Bool)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "WorkerStorage":
        """Build the storage of a config."""
        return cls(config_value, inst_data=inst_data)

    @property
    def event_log_storage(self) -> "WorkerEventLogStorage":
        """The events."""
        return self._events

    @property
    def run_storage(self) -> "WorkerRunStorage":
        """The runs."""
        return self._runs

    @property
    def schedule_storage(self) -> PostgresScheduleStorage:
        """The schedules, Dagster's own: runs have no use for them."""
        return self._schedules


class WorkerRunStorage(PostgresRunStorage):
    """Dagster's runs over our connections; what is written within a transaction belongs to it."""

    def __init__(self, postgres_url: str, *, database: Database, **options: Any) -> None:
        self._database = database  # first: the constructor of Dagster's own connects, to make tables that are missing
        super().__init__(postgres_url, **options)
        self._engine = database.engine

    def connect(self) -> AbstractContextManager[Connection]:
        """Return a connection of the pool, or of the transaction at work."""
        return self._database.connect()

    def has_run_stats_index_cols(self) -> bool:
        """Tell whether runs have columns for start and end; Dagster asks at each, which costs more than the rest."""
        return self._has_run_stats_index_cols

    def add_run_tags(self, run_id: str, new_tags: Mapping[str, str]) -> None:
        """Add tags to a run, without losing those that others add meanwhile, as Dagster's own method does."""

        def work(connection: Connection) -> None:
            LockedRun.lock(connection, run_id)
            super(WorkerRunStorage, self).add_run_tags(run_id, new_tags)

        self._database.transact(work)

    @cached_property
    def _has_run_stats_index_cols(self) -> bool:
        return bool(super().has_run_stats_index_cols())


@dataclass(slots=True)
class _Entry:
    event: EventLogEntry
    row: Mapping[str, Any]
    refused: bool = False

    @property
    def kind(self) -> DagsterEventType | None:
        return self.event.dagster_event_type

    @property
    def run_id(self) -> str:
        return self.event.run_id

    @property
    def changes_status(self) -> bool:
        return self.kind in EVENT_TYPE_TO_PIPELINE_RUN_STATUS


@dataclass(frozen=True, slots=True)
class _Witness:
    """The last row of a batch, which is there if and only if the batch was committed."""

    id: int
    row: Mapping[str, Any]

    def is_there(self, connection: Connection) -> bool:
        parameters = {"id": self.id, "run_id": self.row["run_id"], "event": self.row["event"]}
        return bool(connection.execute(_IS_THERE, parameters).scalar_one())


class WorkerEventLogStorage(PostgresEventLogStorage):
    """Dagster's event log, written in batches; see `open_worker_instance` for what it promises."""

    def __init__(
        self, postgres_url: str, *, database: Database, runs: WorkerRunStorage, may_cancel: bool, **options: Any
    ) -> None:
        self._database = database  # first, as above
        self._buffer: EventBuffer[_Entry] = EventBuffer(self._write)
        super().__init__(postgres_url, **options)
        self._engine = database.engine
        self._runs = runs
        self._may_cancel = may_cancel
        self._unwanted: set[str] = set()

    @property
    def handles_run_events_in_store_event(self) -> bool:
        """True: a run's status changes together with the event that says so."""
        return True

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, now or with others soon; `RunNotWantedError` if it starts a run that must not start."""
        kind = event.dagster_event_type
        if kind is DagsterEventType.RUN_CANCELED and not self._may_cancel:
            self._buffer.flush()
            return
        entry = _Entry(event, self._event_to_row(event))
        self._buffer.add(entry, wait=kind in _DECIDING)
        if entry.refused and kind in STARTS:
            raise RunNotWantedError(event.run_id)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events that Dagster has collected by itself."""
        for event in events:
            self.store_event(event)

    def dispose(self) -> None:
        """Write what waits and close all connections; the storage can be used again."""
        super().dispose()
        try:
            self._buffer.close()
        finally:
            self._database.close()

    def rehearse(self) -> None:
        """Write once what each run will write, and undo it: the statements are compiled then, and the tables known."""
        run = DagsterRun("rehearsal", run_id=str(uuid4()))
        with suppress(_RehearsalOver):
            self._database.transact(lambda connection: self._rehearse(connection, run))

    def _rehearse(self, connection: Connection, run: DagsterRun) -> NoReturn:
        self._runs.add_run(run)
        for kinds in (["RUN_START"], ["STEP_START", "STEP_START"], ["RUN_SUCCESS"]):
            told = [DagsterEvent(DagsterEventType[kind].value, run.job_name) for kind in kinds]
            entries = [_entry_of(each, run_id=run.run_id) for each in told]
            self._store(connection, Batch([_Entry(entry, self._event_to_row(entry)) for entry in entries]))
        raise _RehearsalOver

    def warm_up(self) -> None:
        """Open a connection, and have the server read what it must know of the tables."""
        with self._database.connect() as connection:
            connection.execute(_WARM_UP)

    def _connect(self) -> AbstractContextManager[Connection]:
        # What a process has stored it must also find.
        self._buffer.flush()
        return self._database.connect()

    def _write(self, batch: Batch[_Entry]) -> None:
        self._database.transact(lambda connection: self._store(connection, batch))

    def _store(self, connection: Connection, batch: Batch[_Entry]) -> None:
        if isinstance(batch.witness, _Witness) and batch.witness.is_there(connection):
            return
        entries = self._admit(connection, batch.entries)
        if not entries:
            return
        rows = [entry.row for entry in entries]
        ids = connection.execute(_INSERT, rows).scalars().all()
        self._store_assets(list(zip(entries, ids, strict=True)))
        for entry in entries:
            if entry.changes_status:
                moment = datetime_from_timestamp(entry.event.timestamp)
                self._runs.handle_run_event(entry.run_id, entry.event.get_dagster_event(), moment)
        batch.witness = _Witness(ids[-1], rows[-1])

    def _admit(self, connection: Connection, entries: Sequence[_Entry]) -> list[_Entry]:
        """Return what may be stored; the row of a run whose status changes is locked from here on."""
        admitted: list[_Entry] = []
        for entry in entries:
            if entry.run_id in self._unwanted:
                continue
            run = LockedRun.lock(connection, entry.run_id) if entry.changes_status else None
            entry.refused = run is not None and not run.takes(entry.kind)
            if not entry.refused:
                admitted.append(entry)
            elif entry.kind is DagsterEventType.RUN_START:
                self._unwanted.add(entry.run_id)
                admitted = [other for other in admitted if other.run_id != entry.run_id]
            elif run and entry.kind in ENDS and not run.is_finished:
                note = _note(entry.event, CANCELED_FIRST)
                admitted.append(_Entry(note, self._event_to_row(note)))
        return admitted

    def _store_assets(self, entries: Sequence[tuple[_Entry, int]]) -> None:
        """Store what Dagster keeps of assets beside the log, with its own code, which joins the transaction.

        In the order of their keys: two runs that write to the same ones in different order would block each other.
        """
        for entry, id_ in sorted(entries, key=lambda each: each[0].row["asset_key"] or ""):
            if entry.kind in ASSET_EVENTS and entry.row["asset_key"]:
                self.store_asset_event_tags([entry.event], [id_])
                self.store_asset_event(entry.event, id_)
            if entry.kind in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(entry.event, id_)


def _entry_of(event: DagsterEvent, *, run_id: str) -> EventLogEntry:
    return EventLogEntry(
        error_info=None,
        level=INFO,
        user_message="",
        run_id=run_id,
        timestamp=0.0,
        job_name=event.job_name,
        dagster_event=event,
    )


def _note(event: EventLogEntry, message: str) -> EventLogEntry:
    told = DagsterEvent(
        event_type_value=DagsterEventType.ENGINE_EVENT.value,
        job_name=event.get_dagster_event().job_name,
        message=message,
        event_specific_data=EngineEventData({}),
    )
    return event._replace(dagster_event=told, error_info=None)


_INSERT = SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
_IS_THERE = text("SELECT EXISTS (SELECT FROM event_logs WHERE id = :id AND run_id = :run_id AND event = :event)")
_WARM_UP = text("SELECT FROM event_logs, asset_keys, asset_event_tags, runs, run_tags, snapshots LIMIT 0")
