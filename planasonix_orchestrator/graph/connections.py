"""connections.yaml: where data lives, by connection id; secrets only as names of environment variables."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planasonix_orchestrator.graph.model import DocumentModel, EnvironmentSecret


class PostgresConnectionDocument(DocumentModel):
    """A PostgreSQL database: either one `url` from the environment, or its parts."""

    type: Literal["postgres"]
    url: EnvironmentSecret | None = Field(default=None, description="The whole URL, from the environment.")
    host: str | EnvironmentSecret | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    database: str | EnvironmentSecret | None = None
    user: str | EnvironmentSecret | None = None
    password: EnvironmentSecret | None = None

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        parts = {"host", "port", "database", "user", "password"} & self.model_fields_set
        if self.url and parts:
            raise ValueError(f"give either 'url' or its parts, not 'url' and {', '.join(map(repr, sorted(parts)))}")
        if not self.url and not self.host:
            raise ValueError("give a 'url' from the environment, or a 'host'")
        return self


class DuckDBConnectionDocument(DocumentModel):
    """A DuckDB database file; a relative path starts at the pipelines folder."""

    type: Literal["duckdb"]
    path: str


ConnectionDocument = Annotated[PostgresConnectionDocument | DuckDBConnectionDocument, Field(discriminator="type")]


class ConnectionsDocument(DocumentModel):
    """The file itself: ``connections: {conn_pg: {type: postgres, ...}}``."""

    connections: dict[str, ConnectionDocument] = Field(default_factory=dict)
