"""Streams have a budget of their own, and end when their credential does."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from starlette.types import Message

from api_adapter.auth import Principal, StreamLease
from api_adapter.logs.streams import CredentialEndedError, LiveResponse
from api_adapter.records import Scope, open_records
from api_adapter.settings import ApiSettings, JwtSettings
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.conftest import serving
from tests.api.credentials import AUDIENCE, ISSUER, Issuer, bearer, make_key, serving_keys
from tests.api.making import make_run
from tests.api.waiting import wait_until

MOST = 2
SECONDS_TO_END = 10


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def api(reader_settings: ApiSettings, issuer: Issuer) -> Iterator[httpx.Client]:
    """An API that allows two streams to each credential."""
    with serving_keys(issuer.jwks()) as server:
        jwt = JwtSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url)
        with serving(replace(reader_settings, streams_per_key=MOST, jwt=jwt)) as client:
            yield client


@pytest.fixture(scope="module")
def path(instance: DagsterInstance) -> str:
    """The log of a run that goes on for ever."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    return f"/api/runs/{encode_run_id(run.run_id)}/logs"


@contextmanager
def following(api: httpx.Client, path: str, credential: str) -> Iterator[httpx.Response]:
    """A client that follows a log: the answer has begun."""
    headers = {**bearer(credential), "Accept": "text/event-stream"}
    with api.stream("GET", path, headers=headers) as answer:
        yield answer


def status(api: httpx.Client, path: str, credential: str) -> int:
    with following(api, path, credential) as answer:
        return answer.status_code


def test_each_credential_may_keep_some_streams_open(api: httpx.Client, path: str, database_url: str) -> None:
    """One more is 429 with Retry-After; another key has its own budget; what ends makes room."""
    secret, other = (make_key(database_url, Scope.PIPELINES_READ)[1] for _ in range(2))
    with ExitStack() as stack:
        for _ in range(MOST):
            assert stack.enter_context(following(api, path, secret)).status_code == 200
        with following(api, path, secret) as beyond:
            assert beyond.status_code == 429
            assert int(beyond.headers["retry-after"]) > 0
            beyond.read()
            assert beyond.json()["error"]["code"] == "rate_limited"
        assert status(api, path, other) == 200
        assert api.get("/api/runs", headers=bearer(secret)).status_code == 200
    wait_until(lambda: status(api, path, secret) == 200, seconds=10)


class Reading:
    """Somebody who reads a stream to its end, in a thread."""

    def __init__(self, answer: httpx.Response) -> None:
        self.seconds: float | None = None
        self._answer = answer
        self._thread = Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        began = time.monotonic()
        for _ in self._answer.iter_raw():
            pass
        self.seconds = time.monotonic() - began

    def join(self) -> None:
        self._thread.join()


def test_streams_end_when_their_key_is_revoked(api: httpx.Client, path: str, database_url: str) -> None:
    """Within ten seconds, whichever process it was revoked in; the streams of others go on."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_READ)
    other = make_key(database_url, Scope.PIPELINES_READ)[1]
    with following(api, path, secret) as answer, following(api, path, other) as others:
        ends, goes_on = Reading(answer), Reading(others)
        with open_records(database_url) as records:
            records.keys.revoke(key_id, at=datetime.now(UTC))
        wait_until(lambda: ends.seconds is not None, seconds=SECONDS_TO_END)
        assert goes_on.seconds is None
        with open_records(database_url) as records:
            for key in records.keys.list_all():
                if other.startswith(key.prefix):
                    records.keys.revoke(key.id, at=datetime.now(UTC))
        goes_on.join()


def test_streams_end_when_their_secret_is_replaced(api: httpx.Client, path: str, database_url: str) -> None:
    """A rotation without grace ends the streams that were opened with the former secret."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_READ)
    with following(api, path, secret) as answer:
        reading = Reading(answer)
        with open_records(database_url) as records:
            records.keys.rotate(key_id, at=datetime.now(UTC))
        wait_until(lambda: reading.seconds is not None, seconds=SECONDS_TO_END)


def test_streams_end_when_their_credential_expires(
    api: httpx.Client, path: str, database_url: str, issuer: Issuer
) -> None:
    """A key's expiry and a token's `exp` end its streams."""
    soon = datetime.now(UTC) + timedelta(seconds=3)
    secret = make_key(database_url, Scope.PIPELINES_READ, expires_at=soon)[1]
    token = issuer.token(exp=soon)
    with following(api, path, secret) as first, following(api, path, token) as second:
        assert (first.status_code, second.status_code) == (200, 200)
        readings = [Reading(first), Reading(second)]
        wait_until(lambda: all(reading.seconds is not None for reading in readings), seconds=3 + SECONDS_TO_END)
        assert all(reading.seconds is not None and reading.seconds > 1 for reading in readings)


def test_a_stream_that_never_begins_gives_its_place_back(api: httpx.Client, database_url: str) -> None:
    """Refusals after the place was taken, and clients that go away at once, leave no place taken."""
    secret = make_key(database_url, Scope.PIPELINES_READ)[1]
    for _ in range(MOST + 1):
        with following(api, "/api/runs/run_00000000000000000000000000/logs", secret) as answer:
            assert answer.status_code == 404


@pytest.mark.stack
def test_who_reads_nothing_keeps_no_stream_beyond_his_credential() -> None:
    """A stream that waits for its reader, and so can't look at its lease, is cut soon after that has ended."""
    released: list[StreamLease] = []
    principal = Principal(kind="key", id="key_1", name="tests", scopes=frozenset())
    lease = StreamLease(principal, release=released.append)

    async def lines() -> AsyncIterator[bytes]:
        async with lease:
            while True:
                yield b"line\n"

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            lease.end()
            await asyncio.Event().wait()  # as uvicorn waits for what a caller does not take

    async def stream() -> None:
        async with asyncio.timeout(SECONDS_TO_END):
            await LiveResponse(lines(), lease=lease).stream_response(send)

    with pytest.raises(CredentialEndedError):
        asyncio.run(stream())
    assert released == [lease]
