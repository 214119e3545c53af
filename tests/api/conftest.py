"""A Dagster of the API's tests: its home and database, its record, its code server, and the API over them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import httpx
import pytest
from dagster import DagsterInstance
from dagster._grpc.client import DagsterGrpcClient

from api_adapter.app import create_app
from api_adapter.asgi import open_services
from api_adapter.records import Scope, open_records
from api_adapter.settings import ApiSettings
from api_adapter.storage import Storage, open_storage
from tests.api.serving import serve
from tests.api.waiting import wait_until
from tests.conftest import database, open_instance

# Tests send more requests, and more wrong credentials, than a client should.
MANY = "1000000000/day"

_DAGSTER_YAML = """
storage: {{postgres: {{postgres_url: "{url}"}}}}
run_coordinator: {coordinator}
telemetry: {{enabled: false}}
"""


DAGSTERS_QUEUE = "{module: dagster._core.run_coordinator, class: QueuedRunCoordinator}"
OUR_QUEUE = "{module: planasonix_orchestrator.run_host.queue, class: RunQueue}"


@contextmanager
def dagster_home(folder: Path, *, url: str, coordinator: str = DAGSTERS_QUEUE) -> Iterator[DagsterInstance]:
    """An instance whose record is in the database at `url` and whose home is `folder`."""
    (folder / "dagster.yaml").write_text(_DAGSTER_YAML.format(url=url, coordinator=coordinator))
    with open_instance(folder) as instance:
        yield instance


@pytest.fixture(scope="session")
def database_url(postgres_server: str, dagster_tables: str) -> Iterator[str]:
    """The database that the tests of this folder share; each looks only at runs of its own making."""
    with database(postgres_server, like=dagster_tables) as url:
        yield url


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dagster")


@pytest.fixture(scope="session")
def instance(home: Path, database_url: str) -> Iterator[DagsterInstance]:
    with dagster_home(home, url=database_url) as instance:
        yield instance


@pytest.fixture(scope="session")
def storage(database_url: str) -> Iterator[Storage]:
    with open_storage(database_url) as storage:
        yield storage


@pytest.fixture(scope="session")
def code_server(home: Path, instance: DagsterInstance) -> Iterator[int]:
    """The port of a real code server that serves `tests.api.served`."""
    port = free_port()
    with running_code_server(home, port=port):
        yield port


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_code_server(home: Path, *, port: int) -> Iterator[None]:
    """A code server on this port, ready to answer."""
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--module-name", "tests.api.served", "--location-name", "planasonix", "--log-level", "error"]
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment) as server:
        try:
            client = DagsterGrpcClient(port=port, host="127.0.0.1")
            wait_until(lambda: _serves(client, process=server), seconds=60)
            yield
        finally:
            # Not terminate: now and then Dagster's server does not heed it, and there is nothing here to be kept.
            server.kill()


def _serves(client: DagsterGrpcClient, *, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the code server ended"
    status: str = client.health_check_query()
    return status == "SERVING"


@pytest.fixture(scope="session")
def settings(home: Path, database_url: str, code_server: int) -> ApiSettings:
    return ApiSettings(
        postgres_url=database_url,
        dagster_home=str(home),
        code_server_port=code_server,
        rate_limit=MANY,
        failed_login_limit=MANY,
    )


@cache
def admin_key(database_url: str) -> str:
    """The secret of a key of this database that may do everything: what clients send unless a test says otherwise."""
    with open_records(database_url) as records:
        _, secret = records.keys.create("tests", scopes=[Scope.ADMIN_ORGANIZATION], at=datetime.now(UTC))
        return secret


@contextmanager
def serving(settings: ApiSettings) -> Iterator[httpx.Client]:
    """The API over a Dagster, served by uvicorn, and a client with a key that may do everything."""
    with serve(create_app(settings, open_services=open_services), key=admin_key(settings.postgres_url)) as client:
        yield client


@pytest.fixture(scope="session")
def reader_settings(home: Path, instance: DagsterInstance, database_url: str) -> ApiSettings:
    return ApiSettings(
        postgres_url=database_url, dagster_home=str(home), code_server_port=1, rate_limit=MANY, failed_login_limit=MANY
    )


@pytest.fixture(scope="session")
def reader(reader_settings: ApiSettings) -> Iterator[httpx.Client]:
    """The API without a code server: all that reading runs needs."""
    with serving(reader_settings) as client:
        yield client


@pytest.fixture(scope="session")
def client(settings: ApiSettings) -> Iterator[httpx.Client]:
    """The API with everything behind it but the daemon."""
    with serving(settings) as client:
        yield client
