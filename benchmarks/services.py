"""The two services under comparison, each a process of its own over a record, and a client that costs little."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg2

from api_adapter.records import Scope, open_records
from benchmarks.record.server import Record
from benchmarks.wire import answer_size, body_of, write_request
from planasonix_orchestrator.runtime.parts import Ports, build_parts
from planasonix_orchestrator.runtime.ports import LOOPBACK, choose_port
from planasonix_orchestrator.settings import Settings

SECONDS_TO_START = 120.0
_UPKEEP = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'planasonix-api-upkeep'"
)
_LOOKS = 5  # in a row without upkeep: it begins a moment after the service
_SECONDS_KEPT = 3.0  # uvicorn drops a connection that was idle for five
# Limits that protect a service in public would measure themselves.
_UNLIMITED = {"PLANASONIX_RATE_LIMIT": "1000000/second", "PLANASONIX_STREAMS_PER_KEY": "100000"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service: where it listens, what each request must carry, and its process."""

    port: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    process: psutil.Process

    @contextmanager
    def client(self) -> Iterator["Client"]:
        """Give a client that keeps its connection."""
        client = Client(self)
        try:
            yield client
        finally:
            client.close()

    def request(self, method: str, path: str, *, body: object = None, accept: str = "application/json") -> bytes:
        """Return a request as it goes over the wire."""
        return write_request(method, path, headers=self.headers, body=body, accept=accept)

    def memory(self) -> int:
        """Return the bytes that the service holds in memory, with all of its processes."""
        return sum(process.memory_info().rss for process in (self.process, *self.process.children(recursive=True)))


class Client:
    """JSON over one connection, at little cost."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._socket: socket.socket | None = None
        self._used_at = 0.0

    def get(self, path: str) -> Any:
        """Return the JSON behind a path; `NotSuccessfulError` unless the status is 200."""
        return self._ask(self._service.request("GET", path))

    def post(self, path: str, body: object) -> Any:
        """Return the JSON that a JSON body is answered with; `NotSuccessfulError` unless the status is 200."""
        return self._ask(self._service.request("POST", path, body=body))

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, request: bytes) -> Any:
        if time.monotonic() - self._used_at > _SECONDS_KEPT:
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection((LOOPBACK, self._service.port), timeout=120)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(request)
            answer = _read_answer(self._socket)
        except BaseException:
            self.close()  # what may still come is no answer to the next request
            raise
        self._used_at = time.monotonic()
        return orjson.loads(body_of(answer))  # as little as can be of what is measured


def _read_answer(connection: socket.socket) -> bytearray:
    answer = bytearray()
    size = 0
    while not size or len(answer) < size:
        part = connection.recv(1 << 18)
        if not part:
            raise ConnectionError("the connection was closed before the answer was complete")
        answer += part
        size = size or answer_size(answer)
    return answer


@contextmanager
def our_service(record: Record) -> Iterator[Service]:
    """Run our API over the record, as `planasonix up` runs it but for its limits per key."""
    port = choose_port(0)
    settings = Settings(pipelines=record.home / "pipelines", state=record.home, postgres_url=record.url)
    # Nothing that is measured needs the other parts of the stack.
    parts = {part.name: part for part in build_parts(settings, ports=Ports(api=port, webserver=1, code_server=1))}
    environment = {**parts["api"].environment, "DAGSTER_HOME": str(record.home), **_UNLIMITED}
    with (
        _key(record) as secret,
        _running(parts["api"].command, environment=environment, port=port, ready="/livez") as process,
    ):
        _await_upkeep(record)
        yield Service(port=port, headers={"Authorization": f"Bearer {secret}"}, process=process)


@contextmanager
def dagster_webserver(record: Record) -> Iterator[Service]:
    """Run dagster-webserver over the record, with no code locations to look after."""
    port = choose_port(0)
    command = (sys.executable, "-m", "dagster_webserver", "-h", LOOPBACK, "-p", str(port), "--empty-workspace")
    environment = {**os.environ, "DAGSTER_HOME": str(record.home)}
    with _running(command, environment=environment, port=port, ready="/server_info") as process:
        yield Service(port=port, process=process)


def _await_upkeep(record: Record) -> None:
    """Return when our service has had its first look at the record, and has made its indexes."""
    with closing(psycopg2.connect(record.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        quiet = 0
        while quiet < _LOOKS:
            time.sleep(0.2)
            cursor.execute(_UPKEEP)
            quiet = 0 if cursor.fetchone() else quiet + 1


@contextmanager
def _key(record: Record) -> Iterator[str]:
    """Make an API key, and revoke it in the end."""
    with open_records(record.url) as records:
        key, secret = records.keys.create("benchmark", scopes=[Scope.ADMIN_ORGANIZATION], at=datetime.now(UTC))
        try:
            yield secret
        finally:
            records.keys.revoke(key.id, at=datetime.now(UTC))


@contextmanager
def _running(
    command: tuple[str, ...], *, environment: Mapping[str, str], port: int, ready: str
) -> Iterator[psutil.Process]:
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command,
            # Without the variable, Python keeps compiled bytecode, as an installation does.
            env={name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"},
            cwd=Path(__file__).absolute().parents[1],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            if not _answers(process, port=port, path=ready):
                log.seek(0)
                raise RuntimeError(f"{command[2]} did not start:\n{log.read().decode(errors='replace')}")
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(process: "subprocess.Popen[bytes]", *, port: int, path: str) -> bool:
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        connection = HTTPConnection(LOOPBACK, port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return True
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    return False
