"""A small record, seeded as the large ones are."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from dagster import DagsterInstance

from benchmarks.record.seeding import Size
from benchmarks.record.server import Record, make_record
from tests.conftest import superuser

SIZE = Size(runs=300, jobs=4, runs_with_events=20, long_log=400, wide_run=40)
UNTIL = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def record(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A record of 300 runs and the three landmarks."""
    name = f"record_{uuid4().hex}"
    with superuser(postgres_server) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    url = postgres_server.replace("/postgres?", f"/{name}?")
    return make_record(url, home=tmp_path_factory.mktemp("record"), size=SIZE, until=UNTIL)


@pytest.fixture(scope="session")
def instance(record: Record) -> Iterator[DagsterInstance]:
    with record.instance() as instance:
        yield instance
