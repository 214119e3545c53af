"""Connections by id: what is known of each, and its secrets, read from the environment only when it is opened."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from planasonix_orchestrator.errors import MissingSecretError, NodeError, UnknownConnectionError


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that stands in an environment variable."""

    variable: str

    def reveal(self, environment: Mapping[str, str], *, connection_id: str, field: str) -> str:
        """Return the value; `MissingSecretError` if the variable is not set."""
        try:
            return environment[self.variable]
        except KeyError as error:
            raise MissingSecretError(connection_id, field, self.variable) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresConnection:
    """A PostgreSQL database; `url` excludes the other fields."""

    id: str
    url: Secret | None = None
    host: str | Secret | None = None
    port: int | None = None
    database: str | Secret | None = None
    user: str | Secret | None = None
    password: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckDBConnection:
    """A DuckDB database file."""

    id: str
    path: Path


Connection = PostgresConnection | DuckDBConnection
ConnectionT = TypeVar("ConnectionT", PostgresConnection, DuckDBConnection)


class Connections:
    """The connections of a deployment, by id, with the process environment that holds their secrets."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        *,
        environment: Mapping[str, str],
        bindings: Mapping[str, str] | None = None,
    ) -> None:
        """Take `bindings`: by the id that a node names, the id of the connection that is used instead."""
        self._connections = dict(connections)
        self._bindings = dict(bindings or {})
        self.environment = environment

    def bound(self, bindings: Mapping[str, str]) -> "Connections":
        """Return the same connections with other bindings."""
        return Connections(self._connections, environment=self.environment, bindings=bindings)

    def get(self, connection_id: str) -> Connection:
        """Return the connection that is used where somebody names this id; `UnknownConnectionError`."""
        used = self._bindings.get(connection_id, connection_id)
        try:
            return self._connections[used]
        except KeyError as error:
            raise UnknownConnectionError(used, known=tuple(self._connections)) from error

    def postgres(self, connection_id: str) -> PostgresConnection:
        """Return the PostgreSQL connection that is used where a node names this id."""
        return self._get(connection_id, PostgresConnection)

    def duckdb(self, connection_id: str) -> DuckDBConnection:
        """Return the DuckDB connection that is used where a node names this id."""
        return self._get(connection_id, DuckDBConnection)

    def __iter__(self) -> Iterator[str]:
        return iter(self._connections)

    def _get(self, connection_id: str, kind: type[ConnectionT]) -> ConnectionT:
        connection = self.get(connection_id)
        if not isinstance(connection, kind):
            raise NodeError(f"connection {connection.id!r} is a {type(connection).__name__}, not a {kind.__name__}")
        return connection
