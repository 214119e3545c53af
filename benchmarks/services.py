"""The two services under comparison, each a process of its own over a record, and a client that costs little."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

from benchmarks.record.server import Record
from planasonix_orchestrator.runtime.parts import Ports, build_parts
from planasonix_orchestrator.runtime.ports import LOOPBACK, choose_port
from planasonix_orchestrator.settings import Settings

SECONDS_TO_START = 120.0
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
        connection = HTTPConnection(LOOPBACK, self.port, timeout=120)
        try:
            yield Client(connection, headers=self.headers)
        finally:
            connection.close()

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """Return a request as it goes over the wire."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Host": f"{LOOPBACK}:{self.port}", "Content-Length": str(len(content)), **self.headers}
        if content:
            headers["Content-Type"] = "application/json"
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + content

    def memory(self) -> int:
        """Return the bytes that the service holds in memory, with all of its processes."""
        return sum(process.memory_info().rss for process in (self.process, *self.process.children(recursive=True)))


class Client:
    """JSON over one connection; not httpx, which takes longer over a request than our service does."""

    def __init__(self, connection: HTTPConnection, *, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._headers = dict(headers)
        self._used_at = 0.0

    def get(self, path: str) -> Any:
        """Return the JSON behind a path; `AssertionError` unless the status is 200."""
        return self._ask("GET", path, body=None, headers=self._headers)

    def post(self, path: str, body: object) -> Any:
        """Return the JSON that a JSON body is answered with; `AssertionError` unless the status is 200."""
        headers = {**self._headers, "Content-Type": "application/json"}
        return self._ask("POST", path, body=json.dumps(body).encode(), headers=headers)

    def _ask(self, method: str, path: str, *, body: bytes | None, headers: Mapping[str, str]) -> Any:
        if time.monotonic() - self._used_at > _SECONDS_KEPT:
            self._connection.close()  # it connects anew by itself
        self._connection.request(method, path, body=body, headers=headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self._used_at = time.monotonic()
        assert answer.status == 200, f"{method} {path} gives {answer.status}: {content[:500]!r}"
        return json.loads(content)


@contextmanager
def our_service(record: Record) -> Iterator[Service]:
    """Run our API over the record, as `planasonix up` runs it but for its limits per key."""
    port = choose_port(0)
    settings = Settings(pipelines=record.home / "pipelines", state=record.home, postgres_url=record.url)
    # Nothing that is measured needs the other parts of the stack.
    parts = {part.name: part for part in build_parts(settings, ports=Ports(api=port, webserver=1, code_server=1))}
    environment = {**parts["api"].environment, "DAGSTER_HOME": str(record.home), **_UNLIMITED}
    with _running(parts["api"].command, environment=environment, port=port, ready="/livez") as process:
        yield Service(port=port, headers=credentials(record), process=process)


@contextmanager
def dagster_webserver(record: Record) -> Iterator[Service]:
    """Run dagster-webserver over the record, with no code locations to look after."""
    port = choose_port(0)
    command = (sys.executable, "-m", "dagster_webserver", "-h", LOOPBACK, "-p", str(port), "--empty-workspace")
    environment = {**os.environ, "DAGSTER_HOME": str(record.home)}
    with _running(command, environment=environment, port=port, ready="/server_info") as process:
        yield Service(port=port, process=process)


def credentials(record: Record) -> dict[str, str]:  # noqa: ARG001  (keys are kept in the record's database)
    """Return the headers that let a request into our API."""
    return {}


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
