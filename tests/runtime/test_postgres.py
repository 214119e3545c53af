"""The embedded Postgres."""

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that runs, in a folder whose name needs quoting in a URL."""
    server = EmbeddedPostgres(tmp_path / "with space & +" / "postgres")
    server.data.parent.mkdir()
    server.start(log=tmp_path / "postgres.log")
    yield server
    server.stop()


def test_fixture(postgres_url: str) -> None:
    """The fixture's database is empty and accepts a table."""
    with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t AS SELECT 1 AS n")
    connection.close()
