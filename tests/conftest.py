"""Fixtures that several rooms need: a real Postgres, and a temporary folder that it can reach."""

import gc
import json
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg2
import pytest

from planasonix_orchestrator.runtime.leftovers import POSTGRES_FOLDER, STACK_VARIABLE, guarded
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from dagster import DagsterInstance


def pytest_configure(config: pytest.Config) -> None:
    """Give this session a temporary folder of its own.

    Sessions share pytest's, and each closes it to other users when it starts: to the user, too, as whom the Postgres
    of a session that runs already works where root runs the tests.
    """
    if not hasattr(config, "workerinput") and config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="planasonix-tests-")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove the temporary folder unless a test has failed and somebody may want to look at what it left."""
    if not hasattr(session.config, "workerinput") and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(session.config.option.basetemp, ignore_errors=True)


# The longest files, which begin first: one that began last would keep a single process waiting for it.
_LONGEST_FIRST = (
    "test_stack.py",
    "test_openapi_fuzzing.py",
    "test_chaos.py",
    "test_cancel_matrix.py",
    "test_host.py",
    "test_demo.py",
    "test_child_runs.py",
    "test_log_output.py",
    "test_schedule_kills.py",
    "test_up.py",
    "test_runs.py",
    "test_definitions.py",
    "test_serve.py",
    "test_kills.py",
    "test_readers.py",
    "test_interruption.py",
    "test_executor.py",
    "test_wheel.py",
    "test_imports.py",
    "test_schema.py",
    "test_schedules.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector off what lives as long as the session: all modules and tests, a million objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that start servers, so that the quick part stays quick, and put those first that work longest."""
    for item in items:
        if "postgres_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.stack)
    places = {name: place for place, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@contextmanager
def superuser(url: str) -> Iterator[psycopg2.extensions.cursor]:
    """A cursor outside any transaction, as databases are made and dropped."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


class _ForgetfulPostgres(EmbeddedPostgres):
    """A server that does not wait for the disk: what tests write need not outlive a failure of power."""

    @property
    def command(self) -> tuple[str, ...]:
        return (*super().command, "-c", "fsync=off", "-c", "full_page_writes=off")


@pytest.fixture(scope="session", autouse=True)
def guarded_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder by which a guard knows all that this pytest process starts, and ends it with it, however that ends."""
    folder = tmp_path_factory.mktemp("server")
    with guarded(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv(STACK_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def postgres_server(guarded_folder: Path) -> Iterator[str]:
    """The URL of a real, embedded Postgres: one for each pytest process."""
    server = _ForgetfulPostgres(guarded_folder / POSTGRES_FOLDER)
    server.start(log=guarded_folder / "postgres.log")
    try:
        yield server.url()
    finally:
        server.stop()


@contextmanager
def database(server: str, *, like: str = "template1") -> Iterator[str]:
    """A database of one's own, a copy of another, while the block runs; its URL."""
    name = f"test_{uuid4().hex}"
    with superuser(server) as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
    yield server.replace("/postgres?", f"/{name}?")
    with superuser(server) as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def open_instance(home: Path) -> Iterator["DagsterInstance"]:
    """The instance of a Dagster home. It keeps its connections, as ours do: opening them takes long."""
    from dagster import DagsterInstance  # not where a test needs nothing of it

    with DagsterInstance.from_config(str(home)) as instance:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        yield instance


@pytest.fixture(scope="session")
def dagster_tables(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with Dagster's tables, as Dagster makes them: copying them is ten times as fast."""
    from dagster import DagsterInstance

    home, name = tmp_path_factory.mktemp("tables"), "dagster_tables"
    with superuser(postgres_server) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    storage = {"postgres": {"postgres_url": postgres_server.replace("/postgres?", f"/{name}?")}}
    (home / "dagster.yaml").write_text(json.dumps({"storage": storage, "telemetry": {"enabled": False}}))
    with DagsterInstance.from_config(str(home)) as instance:  # nobody may be connected to what is copied
        assert instance.get_runs_count() == 0
    return name


@pytest.fixture
def dagster_url(postgres_server: str, dagster_tables: str) -> Iterator[str]:
    """The URL of a database of the test's own with Dagster's tables."""
    with database(postgres_server, like=dagster_tables) as url:
        yield url


@pytest.fixture(scope="session")
def _empty_database(postgres_server: str) -> str:
    with superuser(postgres_server) as cursor:
        cursor.execute("CREATE DATABASE empty")
    return "empty"


@pytest.fixture
def postgres_url(postgres_server: str, _empty_database: str) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    # Making one copies a thousand files. Emptying one is ten times as fast, and under a new name nobody knows it.
    name = f"test_{uuid4().hex}"
    url = postgres_server.replace("/postgres?", f"/{name}?")
    with superuser(postgres_server) as cursor:
        cursor.execute(f"ALTER DATABASE {_empty_database} RENAME TO {name}")
    yield url
    with superuser(postgres_server) as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET ALL")
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        cursor.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", (name,))
    with superuser(url) as cursor:
        cursor.execute("SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)'")
        for (schema,) in cursor.fetchall():
            cursor.execute(f"DROP SCHEMA {schema} CASCADE")
        cursor.execute("CREATE SCHEMA public")
    with superuser(postgres_server) as cursor:
        cursor.execute(f"ALTER DATABASE {name} RENAME TO {_empty_database}")
