"""The two stacks under comparison, each with a fresh Postgres: ours as `planasonix up` runs it, and Dagster's parts."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil

from benchmarks.control.documents import DATABASE_VARIABLE
from benchmarks.control.processes import tree
from planasonix_orchestrator.run_host.run_folders import RunFolders
from planasonix_orchestrator.runtime.first_key import make_first_key
from planasonix_orchestrator.runtime.health import UnhealthyError
from planasonix_orchestrator.runtime.leftovers import POSTGRES_FOLDER, guarded
from planasonix_orchestrator.runtime.parts import (
    CODE_SERVER,
    DAEMON,
    DATABASE,
    WEBSERVER,
    Part,
    Ports,
    build_parts,
    embedded_postgres,
    write_dagster_home,
)
from planasonix_orchestrator.runtime.ports import choose_port
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres
from planasonix_orchestrator.runtime.state import KEY_FILE
from planasonix_orchestrator.settings import Settings

REPOSITORY = Path(__file__).absolute().parents[2]
# The node type that holds the interpreter belongs to the tests of run control.
PLUGIN = REPOSITORY / "tests" / "run_host" / "plugin"
_SECONDS_TO_START = 180.0
_SECONDS_TO_STOP = 30.0
_SUPERVISOR = "supervisor"
# Limits that protect a service in public would measure themselves.
_UNLIMITED = {"PLANASONIX_RATE_LIMIT": "1000000/second", "PLANASONIX_STREAMS_PER_KEY": "100000"}

_STOCK_DAGSTER_YAML = """
storage:
  postgres:
    postgres_url:
      env: PLANASONIX_POSTGRES_URL
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    max_concurrent_runs: 4
run_launcher:
  module: dagster.core.launcher
  class: DefaultRunLauncher
telemetry:
  enabled: false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running stack: how its API and Dagster's GraphQL are asked, and the processes of its parts."""

    pipelines: Path
    state: Path
    api: httpx.Client
    graphql_url: str
    postgres_url: str
    parts: Mapping[str, psutil.Process]
    is_ours: bool

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the stack."""
        return [process for part in self.parts for process in self.processes_of(part)]

    def processes_of(self, part: str) -> list[psutil.Process]:
        """Return the processes of one part."""
        found = tree(self.parts[part])
        if part == _SUPERVISOR:  # the other parts are its children
            others = {process.pid for name in self.parts if name != part for process in tree(self.parts[name])}
            return [process for process in found if process.pid not in others]
        return found

    def launched(self) -> list[psutil.Process]:
        """Return the processes from which, or as which, runs are executed: the number at rest does not change."""
        return self.processes_of("run-host" if self.is_ours else "code-server")

    def processes_of_run(self, dagster_id: str, *, before: Sequence[psutil.Process]) -> list[psutil.Process]:
        """Return the processes that work on a run; `before`: what was launched before it."""
        if not self.is_ours:
            return [process for process in self.launched() if process not in before]
        process = RunFolders(self.state / "runs").of(dagster_id).process
        return process.group() if process else []


@contextmanager
def our_stack(folder: Path, *, pipelines: Path) -> Iterator[Stack]:
    """Run our stack over a folder of pipelines, with its state in an empty folder."""
    state = _empty(folder)
    command = [str(Path(sys.executable).with_name("planasonix")), "up", "--json", "--port", "0", "--dagster-port", "0"]
    command += ["--pipelines", str(pipelines), "--state", str(state)]
    url = EmbeddedPostgres(state / POSTGRES_FOLDER).url(DATABASE)
    with subprocess.Popen(
        command,
        env=_environment(os.environ, postgres_url=url),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("planasonix up did not start")
            told = {part["name"]: part for part in json.loads(line)["parts"]}
            parts = {name: psutil.Process(part["pid"]) for name, part in told.items()}
            with _api(told["api"]["url"], state=state) as api:
                yield Stack(
                    pipelines=pipelines,
                    state=state,
                    api=api,
                    graphql_url=f"{told['webserver']['url']}/graphql",
                    postgres_url=url,
                    parts={_SUPERVISOR: psutil.Process(process.pid), **parts},
                    is_ours=True,
                )
        finally:
            _stop(process)


@contextmanager
def stock_stack(folder: Path, *, pipelines: Path) -> Iterator[Stack]:
    """Run Dagster's parts as they come over a folder of pipelines; our API is there to start runs, and to tell them."""
    state = _empty(folder)
    settings = Settings(pipelines=pipelines, state=state)
    ports = _ports()
    with ExitStack() as opened:
        postgres = opened.enter_context(_stock_home(settings))
        built = {part.name: _as_dagster_has_it(part) for part in build_parts(settings, ports=ports)}
        parts = {"postgres": psutil.Process(_postmaster(postgres))}
        for name in ("code-server", "daemon", "webserver", "api"):
            parts[name] = opened.enter_context(_running(built[name], postgres_url=postgres.url(DATABASE)))
        make_first_key(state, environment=built["api"].environment)
        api = opened.enter_context(_api(built["api"].url, state=state))
        yield Stack(
            pipelines=pipelines,
            state=state,
            api=api,
            graphql_url=f"{built['webserver'].url}/graphql",
            postgres_url=postgres.url(DATABASE),
            parts=parts,
            is_ours=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StockDaemon:
    """Dagster's daemon with code of its own: how its upstream job is started, and where its runs are kept."""

    postgres_url: str
    environment: Mapping[str, str]
    module: str

    def launch_upstream(self) -> None:
        """Put a run of the job `upstream` into the queue."""
        command = [sys.executable, "-m", "dagster", "job", "launch", "-m", self.module, "-j", "upstream"]
        subprocess.run(command, env=dict(self.environment), cwd=REPOSITORY, check=True, capture_output=True)


@contextmanager
def stock_daemon(folder: Path, *, module: str, more: Mapping[str, str]) -> Iterator[StockDaemon]:
    """Run Dagster's daemon as it comes, with its own queue and launcher, over the definitions of a module."""
    state = _empty(folder)
    settings = Settings(pipelines=state, state=state)
    with ExitStack() as opened:
        postgres = opened.enter_context(_stock_home(settings))
        part = next(part for part in build_parts(settings, ports=_ports()) if part.name == "daemon")
        url = postgres.url(DATABASE)
        stock = replace(
            part,
            command=(sys.executable, "-m", "dagster._daemon", "run", "-m", module),
            environment={**part.environment, **more},
        )
        opened.enter_context(_running(stock, postgres_url=url))
        yield StockDaemon(
            postgres_url=url, environment=_environment(stock.environment, postgres_url=url), module=module
        )


@contextmanager
def _stock_home(settings: Settings) -> Iterator[EmbeddedPostgres]:
    """Run a Postgres with an empty database, and beside it a Dagster home that asks for Dagster's own parts."""
    settings.logs.mkdir()
    postgres = embedded_postgres(settings)
    with ExitStack() as opened:
        opened.enter_context(guarded(settings.state))
        postgres.start(log=settings.logs / "postgres.log")
        opened.callback(postgres.stop)
        postgres.create_database(DATABASE)
        write_dagster_home(settings)
        (settings.dagster_home / "dagster.yaml").write_text(_STOCK_DAGSTER_YAML, encoding="utf-8")
        yield postgres


def _environment(environment: Mapping[str, str], *, postgres_url: str) -> dict[str, str]:
    """Return an environment with what the benchmarks add; without the variable, Python keeps compiled bytecode."""
    kept = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, [str(PLUGIN), str(REPOSITORY), environment.get("PYTHONPATH")]))
    return {**kept, **_UNLIMITED, DATABASE_VARIABLE: postgres_url, "PYTHONPATH": path}


def _as_dagster_has_it(part: Part) -> Part:
    stock = {CODE_SERVER: "dagster", DAEMON: "dagster._daemon", WEBSERVER: "dagster_webserver"}
    return replace(part, command=tuple(stock.get(word, word) for word in part.command))


@contextmanager
def _running(part: Part, *, postgres_url: str) -> Iterator[psutil.Process]:
    assert part.log is not None
    environment = _environment(part.environment, postgres_url=postgres_url)
    with (
        part.log.open("ab") as log,
        subprocess.Popen(
            part.command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=REPOSITORY
        ) as process,
    ):
        try:
            asyncio.run(_until_well(part, process))
            yield psutil.Process(process.pid)
        finally:
            _stop(process)


async def _until_well(part: Part, process: "subprocess.Popen[bytes]") -> None:
    started, deadline = datetime.now(UTC), time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            return await part.probe(started)
        except UnhealthyError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{part.name} did not start: {error}; see {part.log}") from error
        await asyncio.sleep(0.1)


@contextmanager
def _api(url: str, *, state: Path) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {(state / KEY_FILE).read_text(encoding='ascii').strip()}"}
    with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


def _empty(folder: Path) -> Path:
    """Return the folder without what an earlier invocation has left in it: its record would make this one slower."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _ports() -> Ports:
    chosen: list[int] = []
    for _ in range(3):
        chosen.append(choose_port(0, taken=chosen))
    return Ports(api=chosen[0], webserver=chosen[1], code_server=chosen[2])


def _postmaster(postgres: EmbeddedPostgres) -> int:
    return int((postgres.data / "postmaster.pid").read_text(encoding="ascii").split()[0])


def _stop(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
