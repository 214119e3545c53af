"""Brings our schema up to date: made when first needed, by whichever process comes first."""

import logging
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from api_adapter.errors import UnavailableError
from planasonix_orchestrator.contract.database import SCHEMA, SCHEMA_LOCK

logger = logging.getLogger("api_adapter")

REVISION = "0003"  # the newest of migrations/versions
MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = f"{SCHEMA}.alembic_version"


def ensure_schema(engine: Engine) -> None:
    """Make or migrate our tables in one transaction, unless they are of our revision.

    `UnavailableError` if the tables can't be made, or are of a later program; the log says what to do about it.
    """
    with engine.connect() as connection:
        if _revision(connection) == REVISION:
            return
    transaction = engine.execution_options(isolation_level="READ COMMITTED")
    try:
        with transaction.begin() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = '60s'")
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": SCHEMA_LOCK})
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            _migrate(connection)
    except ProgrammingError as error:
        logger.exception("the schema %r can't be made: GRANT CREATE ON DATABASE ... TO the user of the URL", SCHEMA)
        raise UnavailableError("The database") from error


def _revision(connection: Connection) -> str | None:
    found = connection.scalar(text("SELECT to_regclass(:name)"), {"name": _VERSION_TABLE})
    if found is None:
        return None
    revision: str | None = connection.scalar(text(f"SELECT version_num FROM {_VERSION_TABLE}"))  # noqa: S608
    return revision


def _migrate(connection: Connection) -> None:
    # Alembic takes a tenth of a second to import, which all but the first process can do without.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection, "schema": SCHEMA})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        logger.exception("the tables in %r are of a later version of this program: upgrade it", SCHEMA)
        raise UnavailableError("The database") from error
