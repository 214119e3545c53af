"""Dagster's tables, made before the parts start: all at once on an empty database they get into each other's way.

Dagster makes them statement by statement, outside of a transaction, so that a part may find some and miss others.
"""

import subprocess
from collections.abc import Mapping
from contextlib import closing

import psycopg2

from planasonix_orchestrator.runtime.errors import PartError
from planasonix_orchestrator.runtime.modules import run_module
from planasonix_orchestrator.settings import POSTGRES_URL_VARIABLE

SECONDS_TO_MAKE = 60
# By these Dagster's three storages tell whether they must make their tables.
_ARE_THERE = "SELECT num_nulls(to_regclass('runs'), to_regclass('event_logs'), to_regclass('jobs')) = 0"


def make_schema(environment: Mapping[str, str]) -> None:
    """Make Dagster's tables in the database that `environment` names, if it has none; `PartError` if that fails."""
    try:
        with closing(psycopg2.connect(environment[POSTGRES_URL_VARIABLE])) as connection, connection.cursor() as cursor:
            cursor.execute(_ARE_THERE)
            if cursor.fetchone() == (True,):
                return
        # In a process of its own: Dagster is too large for the supervisor, and configures logging as it likes.
        run_module(__name__, environment=environment, seconds=SECONDS_TO_MAKE).check_returncode()
    except psycopg2.Error as error:
        raise _failed(str(error).partition("\n")[0]) from error
    except subprocess.TimeoutExpired as error:
        raise _failed(f"it took more than {SECONDS_TO_MAKE} s") from error
    except subprocess.CalledProcessError as error:
        raise _failed(error.stderr.strip().rpartition("\n")[2]) from error


def _failed(reason: str) -> PartError:
    return PartError("postgres", reason=f"could not be given Dagster's tables ({reason})", log=None, tail=())


def _make() -> None:
    from dagster import DagsterInstance

    with DagsterInstance.get() as instance:
        # Any of the storages, which are made together.
        instance.run_storage.get_run_tag_keys()


if __name__ == "__main__":
    _make()
