"""The parts of the stack: which there are, how each is run, and how to tell that it is well."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME
from planasonix_orchestrator.runtime import health
from planasonix_orchestrator.runtime.leftovers import POSTGRES_FOLDER, STACK_VARIABLE, end_code_holders
from planasonix_orchestrator.runtime.ports import LOOPBACK
from planasonix_orchestrator.runtime.postgres import Account, EmbeddedPostgres
from planasonix_orchestrator.runtime.schema import make_schema
from planasonix_orchestrator.settings import (
    CODE_SERVER_PORT_VARIABLE,
    DAGSTER_HOME_VARIABLE,
    PIPELINES_VARIABLE,
    POSTGRES_URL_VARIABLE,
    STATE_VARIABLE,
    Settings,
)

DATABASE = "planasonix"
DEFINITIONS = "planasonix_orchestrator.definitions"
CODE_SERVER = "planasonix_orchestrator.runtime.code_server"  # all of them run as modules
DAEMON = "planasonix_orchestrator.runtime.daemon"
WEBSERVER = "planasonix_orchestrator.runtime.webserver"
RUN_HOST = "planasonix_orchestrator.run_host"
NOTIFIER = "planasonix_orchestrator.notifier"
API = "api_adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports that the stack listens on, all on the loopback interface."""

    api: int
    webserver: int
    code_server: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: a process, or (with an empty command) something that others run and that is only watched.

    `url` is for people and holds no password. `prepare` is called before each start, `furnish` when the part is well
    for the first time, before the others may need it.
    """

    name: str
    url: str
    probe: health.Probe
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    log: Path | None = None
    account: Account | None = None
    # What these are bound to may hold a password.
    prepare: Callable[[], None] = field(default=lambda: None, repr=False)
    furnish: Callable[[], None] = field(default=lambda: None, repr=False)


def postgres_url(settings: Settings) -> str:
    """Return the URL of the stack's database, which may hold a password."""
    return settings.postgres_url or embedded_postgres(settings).url(DATABASE)


def embedded_postgres(settings: Settings) -> EmbeddedPostgres:
    """Return the server that serves where no URL is set."""
    return EmbeddedPostgres(settings.state / POSTGRES_FOLDER)


def stack_environment(settings: Settings, *, code_server_port: int) -> dict[str, str]:
    """Return the variables by which the parts, and plain `dagster` commands, find each other."""
    return {
        POSTGRES_URL_VARIABLE: postgres_url(settings),
        DAGSTER_HOME_VARIABLE: str(settings.dagster_home),
        PIPELINES_VARIABLE: str(settings.pipelines),
        STATE_VARIABLE: str(settings.state),
        CODE_SERVER_PORT_VARIABLE: str(code_server_port),
    }


def process_environment(settings: Settings, *, code_server_port: int) -> dict[str, str]:
    """Return the whole environment of the stack's processes, by which they are known when they must be ended."""
    shared = stack_environment(settings, code_server_port=code_server_port)
    return {**os.environ, **shared, STACK_VARIABLE: str(settings.state)}


def write_dagster_home(settings: Settings) -> None:
    """Make the Dagster home, with the templates of dagster.yaml and workspace.yaml as they are now."""
    settings.dagster_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for template in files("planasonix_orchestrator.runtime").joinpath("templates").iterdir():
        (settings.dagster_home / template.name).write_bytes(template.read_bytes())


def api_url(ports: Ports) -> str:
    """Return where the Runs API is reached."""
    return f"http://{LOOPBACK}:{ports.api}"


def build_parts(settings: Settings, *, ports: Ports) -> tuple[Part, ...]:
    """Return the parts; the first is Postgres, without which the others can't start."""
    environment = process_environment(settings, code_server_port=ports.code_server)

    def python_part(
        name: str, *command: str, url: str, probe: health.Probe, prepare: Callable[[], None] = lambda: None
    ) -> Part:
        return Part(
            name=name,
            url=url,
            probe=probe,
            command=(sys.executable, "-m", *command),
            environment=environment,
            log=settings.logs / f"{name}.log",
            prepare=prepare,
        )

    workspace = str(settings.dagster_home / "workspace.yaml")
    code_server = (CODE_SERVER, "code-server", "start", "-m", DEFINITIONS, "--location-name", CODE_LOCATION_NAME)
    webserver = (WEBSERVER, "-h", LOOPBACK, "-p", str(ports.webserver), "-w", workspace)
    webserver_url = f"http://{LOOPBACK}:{ports.webserver}"
    return (
        _postgres_part(settings, furnish=partial(make_schema, environment)),
        python_part(
            "code-server",
            *code_server,
            *("-h", LOOPBACK, "-p", str(ports.code_server)),
            url=f"grpc://{LOOPBACK}:{ports.code_server}",
            probe=health.code_server_probe(ports.code_server),
            prepare=partial(end_code_holders, settings.state),
        ),
        python_part(
            "daemon",
            DAEMON,
            "run",
            "-w",
            workspace,
            url="",
            probe=health.daemon_probe(postgres_url(settings)),
        ),
        python_part("run-host", RUN_HOST, url="", probe=health.run_host_probe(postgres_url(settings))),
        python_part("notifier", NOTIFIER, url="", probe=health.notifier_probe(postgres_url(settings))),
        python_part(
            "webserver", *webserver, url=webserver_url, probe=health.http_probe(f"{webserver_url}/server_info")
        ),
        python_part(
            "api",
            *(API, "serve", "--host", LOOPBACK, "--port", str(ports.api)),
            url=api_url(ports),
            probe=health.http_probe(f"{api_url(ports)}/livez"),
        ),
    )


def _without_secrets(url: str) -> str:
    """Return where a URL leads to, as those read it who connect by it: a password may hold what ends one elsewhere."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return "postgresql:"  # which can't be shown, as nobody can tell what of it is a password
    place = URL.create(address.drivername, host=address.host, port=address.port, database=address.database)
    return place.render_as_string()


def _postgres_part(settings: Settings, *, furnish: Callable[[], None]) -> Part:
    if settings.postgres_url:
        return Part(
            name="postgres",
            url=_without_secrets(settings.postgres_url),
            probe=health.postgres_probe(settings.postgres_url),
            furnish=furnish,
        )
    server = embedded_postgres(settings)
    return Part(
        name="postgres",
        url=server.url(DATABASE),
        probe=health.embedded_postgres_probe(server, database=DATABASE),
        command=server.command,
        environment=server.environment,
        log=settings.logs / "postgres.log",
        account=server.account,
        prepare=server.prepare,
        furnish=furnish,
    )
