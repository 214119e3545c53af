"""Connections by id, and others in their place."""

from pathlib import Path

import pytest

from planasonix_orchestrator.engine.connections import Connections, DuckDBConnection, PostgresConnection, Secret
from planasonix_orchestrator.engine.postgres import transaction
from planasonix_orchestrator.errors import MissingSecretError, NodeError, UnknownConnectionError

FILE = DuckDBConnection(id="conn_file", path=Path("a.duckdb"))
OTHER = DuckDBConnection(id="conn_other", path=Path("b.duckdb"))
SERVER = PostgresConnection(id="conn_server", url=Secret("NO_SUCH_URL"))
CONNECTIONS = Connections({each.id: each for each in (FILE, OTHER, SERVER)}, environment={})


def test_another_connection_may_be_used_instead() -> None:
    """Only where it is bound, only once, and without changing what others see."""
    bound = CONNECTIONS.bound({"conn_file": "conn_other", "conn_other": "conn_file"})
    assert (bound.duckdb("conn_file"), bound.duckdb("conn_other")) == (OTHER, FILE)
    assert CONNECTIONS.duckdb("conn_file") is FILE
    assert list(bound) == list(CONNECTIONS)


def test_errors_name_the_connection_that_is_used() -> None:
    """Where it does not exist, is of another type, or has a secret that is not set."""
    with pytest.raises(UnknownConnectionError, match="'conn_gone' does not exist"):
        CONNECTIONS.bound({"conn_file": "conn_gone"}).duckdb("conn_file")
    with pytest.raises(NodeError, match="'conn_server' is a PostgresConnection"):
        CONNECTIONS.bound({"conn_file": "conn_server"}).duckdb("conn_file")
    bound = CONNECTIONS.bound({"conn_pg": "conn_server"})
    with pytest.raises(MissingSecretError, match=r"'conn_server'.*NO_SUCH_URL"), transaction(bound, "conn_pg"):
        pass
