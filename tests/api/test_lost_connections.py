"""Pools whose connections were all lost: the next statement works, whatever the clock says."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from api_adapter.control.database import Database as ControlDatabase
from api_adapter.records.database import Database as RecordsDatabase
from api_adapter.storage.database import open_database
from tests.conftest import superuser

CONNECTIONS = 5
HOUR = 3600.0
Ask = Callable[[str], object]


@pytest.fixture(params=["control", "records", "storage"])
def ask(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[Ask]:
    """Asks a database of ours for a statement's single value."""
    if request.param == "storage":
        storage = open_database(postgres_url)
        yield lambda statement: storage.read_single(lambda connection: connection.rows(statement)[0][0])
        storage.close()
    elif request.param == "records":
        records = RecordsDatabase(postgres_url)
        yield lambda statement: records.read(text(statement))[0][0]
        records.close()
    else:
        control = ControlDatabase(postgres_url)
        yield lambda statement: control.transact(lambda connection: connection.execute(text(statement)).scalar_one())
        control.close()


def test_a_clock_that_was_set_back_keeps_no_lost_connection(
    ask: Ask, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLAlchemy tells old connections from new ones by the time of day at which they were made."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(ask, ["SELECT pg_sleep(0.5)"] * CONNECTIONS))
    with superuser(postgres_url) as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        ((ended,),) = cursor.fetchall()
    assert ended > 1  # on a busy machine, some may have come one after the other
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - HOUR)
    assert [ask("SELECT 1") for _ in range(CONNECTIONS)] == [1] * CONNECTIONS
