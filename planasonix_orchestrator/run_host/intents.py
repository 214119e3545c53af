"""What Dagster's own parts (UI, daemon, command line) have for the host: runs that are new, or shall be canceled."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from dagster import DagsterInstance
from sqlalchemy import Connection, text

from planasonix_orchestrator.contract.cancellation import CHANNEL, FINISHED, CanceledBy, has_intent, store_intent


def announce(instance: DagsterInstance, *, run_id: str) -> None:
    """Tell the host that there is something to do for a run."""
    with _connection(instance) as connection:
        connection.execute(text("SELECT pg_notify(:channel, :run_id)"), {"channel": CHANNEL, "run_id": run_id})


def intend(instance: DagsterInstance, *, run_id: str, by: str, at: datetime, source: CanceledBy = "user") -> bool:
    """Store that a run be canceled; False if it has ended, or there is none."""
    with _connection(instance) as connection:
        status = store_intent(connection, run_id, by=by, at=at, source=source)
    return status is not None and status not in FINISHED


def is_intended(instance: DagsterInstance, *, run_id: str) -> bool:
    """Tell whether it was asked that a run be canceled."""
    with _connection(instance) as connection:
        return has_intent(connection, run_id)


@contextmanager
def _connection(instance: DagsterInstance) -> Iterator[Connection]:
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # of the storages that are SQL
        transaction = connection.execution_options(isolation_level="READ COMMITTED")
        with transaction.begin():
            yield transaction
