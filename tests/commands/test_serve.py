"""`planasonix serve`: what it listens on, and what it refuses to."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from api_adapter.commands.serve import is_loopback
from api_adapter.records import Scope, open_records
from planasonix_orchestrator.runtime.ports import LOOPBACK, choose_port
from tests.runtime.stack import wait_until

WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
EVERYWHERE = "0.0.0.0"  # noqa: S104  (what it is about)


@pytest.fixture
def environment(tmp_path: Path, postgres_url: str) -> dict[str, str]:
    (tmp_path / "dagster.yaml").write_text(f'storage: {{postgres: {{postgres_url: "{postgres_url}"}}}}\n')
    return {**os.environ, "PLANASONIX_POSTGRES_URL": postgres_url, "DAGSTER_HOME": str(tmp_path)}


def make_key(url: str) -> tuple[str, str]:
    with open_records(url) as records:
        key, secret = records.keys.create("a key", scopes=[Scope.PIPELINES_READ], at=datetime.now(UTC))
        return key.id, secret


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "api_adapter", "serve", *arguments]


@contextmanager
def served(*arguments: str, environment: dict[str, str], log: Path) -> Iterator[httpx.Client]:
    """The API as a process of its own, and a client on the loopback interface."""
    port = choose_port(0, taken=[])
    with log.open("w") as output:
        process = subprocess.Popen(
            command("--port", str(port), *arguments), env=environment, stdout=output, stderr=output
        )
    try:
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False) as client:

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    return client.get("/livez").status_code == 200
                except httpx.TransportError:
                    return False

            wait_until(answers, what=log.read_text)
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.1.1", False),
        ("::ffff:192.168.1.1", False),
        ("", False),
        ("localhost.example.com", False),
        ("my-host", False),
    ],
)
def test_only_this_machines_own_addresses_are_loopback(host: str, *, expected: bool) -> None:
    """What is not certain to be this machine alone counts as the world."""
    assert is_loopback(host) == expected


def test_without_a_key_it_does_not_listen_to_the_world(environment: dict[str, str]) -> None:
    """Exit code 1 and the command that makes a key; a revoked key is none."""
    key_id, _ = make_key(environment["PLANASONIX_POSTGRES_URL"])
    with open_records(environment["PLANASONIX_POSTGRES_URL"]) as records:
        records.keys.revoke(key_id, at=datetime.now(UTC))
    done = subprocess.run(
        command("--host", EVERYWHERE, "--port", "0"), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "planasonix keys create" in done.stderr
    assert EVERYWHERE in done.stderr


def test_when_it_can_not_tell_it_does_not_listen_to_the_world(environment: dict[str, str]) -> None:
    """Without the database nobody knows whether there is a key."""
    away = {**environment, "PLANASONIX_POSTGRES_URL": f"postgresql://me:s3cret@{LOOPBACK}:1/none"}
    done = subprocess.run(command("--host", EVERYWHERE), env=away, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "can't be reached" in done.stderr
    assert "s3cret" not in done.stderr


def test_a_wrong_setting_is_told(environment: dict[str, str]) -> None:
    """The variable, its value and what was expected; exit code 1."""
    wrong = {**environment, "PLANASONIX_RATE_LIMIT": "often"}
    done = subprocess.run(command(), env=wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PLANASONIX_RATE_LIMIT is 'often'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.stack
def test_with_a_key_it_listens_to_the_world(environment: dict[str, str], tmp_path: Path) -> None:
    """And is closed all the same; nobody's word about where a request comes from is believed."""
    _, secret = make_key(environment["PLANASONIX_POSTGRES_URL"])
    limited = {**environment, "PLANASONIX_FAILED_LOGIN_LIMIT": "2/hour"}
    with served("--host", EVERYWHERE, environment=limited, log=tmp_path / "log") as client:
        assert client.get("/api/runs").status_code == 401
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get("/api/pipelines", headers=headers).status_code == 503  # there is no code server
        assert "server" not in client.get("/livez").headers
        socket = client.get("/api/runs?token=s3cret", headers=WEBSOCKET)
        assert (socket.status_code, socket.json()["error"]["code"]) == (401, "unauthorized")
        statuses = [
            client.get("/api/runs", headers={"Authorization": "Bearer x", "X-Forwarded-For": f"10.0.0.{each}"})
            for each in range(4)
        ]
        assert [answer.status_code for answer in statuses] == [401, 401, 429, 429]
    log = (tmp_path / "log").read_text()
    assert secret not in log
    assert "s3cret" not in log


@pytest.mark.stack
def test_a_proxy_that_is_trusted_is_believed(environment: dict[str, str], tmp_path: Path) -> None:
    """With `--trusted-proxy` each client behind it is counted by itself."""
    limited = {**environment, "PLANASONIX_FAILED_LOGIN_LIMIT": "1/hour"}
    with served("--trusted-proxy", LOOPBACK, environment=limited, log=tmp_path / "log") as client:
        statuses = [
            client.get("/api/runs", headers={"Authorization": "Bearer x", "X-Forwarded-For": address}).status_code
            for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
        ]
    assert statuses == [401, 429, 401, 401, 429, 401]


@pytest.mark.stack
def test_a_revoked_key_is_refused_by_every_worker(environment: dict[str, str], tmp_path: Path) -> None:
    """Several processes serve one port; the next request after a revocation is 401, whichever takes it."""
    url = environment["PLANASONIX_POSTGRES_URL"]
    key_id, secret = make_key(url)
    with served("--workers", "2", environment=environment, log=tmp_path / "log") as client:

        def status() -> int:
            # A connection of its own each time, so that either process may take it.
            headers = {"Authorization": f"Bearer {secret}", "Connection": "close"}
            return client.get("/api/pipelines", headers=headers).status_code

        assert {status() for _ in range(20)} == {503}
        with open_records(url) as records:
            records.keys.revoke(key_id, at=datetime.now(UTC))
        assert {status() for _ in range(20)} == {401}
