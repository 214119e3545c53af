"""Whether Dagster's tables are those that this room reads: their revision, as alembic notes it."""

from collections.abc import Collection

from api_adapter.errors import UnavailableError, UnknownSchemaError
from api_adapter.storage.database import Connection

# Revisions whose tables are as our statements expect, by the contract suite: those of Dagster 1.13.
KNOWN_REVISIONS = frozenset({"29b539ebc72a"})

_EXISTS = "SELECT to_regclass('alembic_version') IS NOT NULL AND to_regclass('runs') IS NOT NULL AS exists"
_REVISION = "SELECT version_num FROM alembic_version"


def check_schema(connection: Connection, *, known: Collection[str] = KNOWN_REVISIONS) -> None:
    """Return if the tables are of a known revision.

    `UnavailableError` while Dagster has not made them yet, `UnknownSchemaError` if they are of another revision.
    """
    ((exists,),) = connection.rows(_EXISTS)
    found = [row.version_num for row in connection.rows(_REVISION)] if exists else []
    if not found:
        raise UnavailableError("Dagster's tables (they are made when a part of Dagster first starts)")
    if unknown := sorted(set(found) - set(known)):
        raise UnknownSchemaError(unknown, known=sorted(known))
