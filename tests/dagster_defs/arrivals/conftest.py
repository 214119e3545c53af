"""A Dagster whose record is in a real Postgres, for all tests of arrivals."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from dagster import DagsterInstance

from planasonix_orchestrator.dagster_defs.sensors.arrivals.record import Connect
from tests.api.conftest import OUR_QUEUE, dagster_home
from tests.conftest import database


@pytest.fixture(scope="session")
def database_url(postgres_server: str, dagster_tables: str) -> Iterator[str]:
    with database(postgres_server, like=dagster_tables) as url:
        yield url


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[DagsterInstance]:
    with dagster_home(tmp_path_factory.mktemp("dagster"), url=database_url, coordinator=OUR_QUEUE) as instance:
        yield instance


@pytest.fixture(scope="session")
def connect(instance: DagsterInstance) -> Connect:
    connect: Connect = instance.run_storage.connect  # type: ignore[attr-defined]
    return connect


@pytest.fixture
def trigger_id() -> str:
    """An id of the test's own: the tests share the tables."""
    return f"trg_{uuid4().hex}"
