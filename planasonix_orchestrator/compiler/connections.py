"""Connections as documents declare them, made into the connections that runs open."""

from collections.abc import Mapping
from pathlib import Path

from planasonix_orchestrator.engine.connections import Connection, DuckDBConnection, PostgresConnection, Secret
from planasonix_orchestrator.graph.connections import (
    ConnectionDocument,
    ConnectionsDocument,
    PostgresConnectionDocument,
)
from planasonix_orchestrator.graph.model import EnvironmentSecret


def build_connections(document: ConnectionsDocument, *, base: Path) -> Mapping[str, Connection]:
    """Return the connections by id; relative paths start at `base`. No secret is read."""
    return {id_: _connection(id_, each, base) for id_, each in document.connections.items()}


def connection_type(connection: Connection) -> str:
    """Return the type as connections.yaml has it."""
    return "duckdb" if isinstance(connection, DuckDBConnection) else "postgres"


def _connection(id_: str, document: ConnectionDocument, base: Path) -> Connection:
    if not isinstance(document, PostgresConnectionDocument):
        return DuckDBConnection(id=id_, path=base / Path(document.path).expanduser())
    return PostgresConnection(
        id=id_,
        url=_secret(document.url),
        host=_value(document.host),
        port=document.port,
        database=_value(document.database),
        user=_value(document.user),
        password=_secret(document.password),
    )


def _secret(document: EnvironmentSecret | None) -> Secret | None:
    return Secret(document.env) if document else None


def _value(document: str | EnvironmentSecret | None) -> str | Secret | None:
    return Secret(document.env) if isinstance(document, EnvironmentSecret) else document
