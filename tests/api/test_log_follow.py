"""Following a run's log: history first, then each line as it comes, to the end; nothing lost, nothing doubled."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from threading import Event, Thread

import httpx
import psycopg2
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.dagster_run import DagsterRun

from api_adapter.app import create_app
from api_adapter.asgi import open_services
from api_adapter.auth import Principal, StreamLease
from api_adapter.dependencies import Services
from api_adapter.logs.follow import Followed, Followers
from api_adapter.logs.hub import Pace
from api_adapter.records import Scope, open_records
from api_adapter.settings import ApiSettings
from api_adapter.storage import LogFilter, LogPosition, LogState, Storage
from api_adapter.threads import Threads
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from tests.api import served
from tests.api.conftest import admin_key, dagster_home, free_port, serving
from tests.api.making import execute, make_run
from tests.api.serving import serve
from tests.api.waiting import wait_until
from tests.api.writing import log, write_events
from tests.conftest import superuser

SECONDS_AT_ONCE = 5.0  # on any machine, and far from a heartbeat; half a second is what the case follow_delay measures


@dataclass
class Received:
    """What a follower has received: lines with their ids and moments, and other events by name."""

    messages: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    others: list[tuple[str, object]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    retry: str | None = None

    def take(self, event: str) -> None:
        """One event, or comment, as text."""
        fields = dict(part.split(": ", 1) for part in event.split("\n") if not part.startswith(":"))
        if not fields:
            self.comments.append(event)
        elif "retry" in fields:
            self.retry = fields["retry"]
        elif "event" in fields:
            assert "id" not in fields
            self.others.append((fields["event"], json.loads(fields["data"])))
        else:
            line = json.loads(fields["data"])
            assert list(line) == ["ts", "level", "nodeId", "message"]
            self.messages.append(line["message"])
            self.ids.append(fields["id"])
            self.moments.append(time.monotonic())


class Follower:
    """A client that follows a run in a thread of its own, until the stream ends or it goes away."""

    def __init__(
        self, client: httpx.Client, run_id: str, *, headers: dict[str, str] | None = None, **params: str
    ) -> None:
        self.received = Received()
        self.done = Event()
        self._client = client
        self._run_id = run_id
        self._headers = {"Accept": "text/event-stream", **(headers or {})}
        self._params = params
        self._leaving = Event()
        self._thread = Thread(target=self._follow)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def wait_for(self, *messages: str) -> None:
        """Wait until all of these, and no others, have come."""
        wait_until(lambda: len(self.received.messages) >= len(messages) or self.done.is_set(), seconds=20)
        assert self.received.messages == list(messages)

    def wait_for_end(self) -> None:
        assert self.done.wait(timeout=20)

    def leave(self) -> None:
        """Go away as soon as something comes."""
        self._leaving.set()

    def _follow(self) -> None:
        path = f"/api/runs/{self._run_id}/logs"
        rest = ""
        try:
            with self._client.stream("GET", path, headers=self._headers, params=self._params, timeout=60) as answer:
                assert answer.status_code == 200
                assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
                for text in answer.iter_text():
                    *events, rest = (rest + text).split("\n\n")
                    for event in events:
                        self.received.take(event)
                    if self._leaving.is_set():
                        return
            assert rest == ""
        finally:
            self.done.set()


def messages_of(text: str) -> list[str]:
    received = Received()
    for event in text.split("\n\n")[:-1]:
        received.take(event)
    return received.messages


@contextmanager
def writer(url: str) -> Iterator[psycopg2.extensions.connection]:
    connection = psycopg2.connect(url)
    try:
        yield connection
    finally:
        connection.close()


def write(connection: psycopg2.extensions.connection, run: DagsterRun, *messages: str) -> None:
    for message in messages:
        log(connection, run_id=run.run_id, message=message)
    connection.commit()


@pytest.fixture
def run(instance: DagsterInstance) -> DagsterRun:
    return make_run(instance, status=DagsterRunStatus.STARTED)


@pytest.fixture(scope="module")
def succeeded(instance: DagsterInstance) -> str:
    return encode_run_id(execute(served.crm_to_warehouse, instance=instance))


def test_a_finished_run_is_told_and_ended_at_once(succeeded: str, reader: httpx.Client, database_url: str) -> None:
    """All its lines, each with an id, then `end` with the final status; a caller that comes back only gets the end."""
    settle(database_url, succeeded)
    began = time.monotonic()
    with Follower(reader, succeeded) as follower:
        follower.wait_for_end()
    assert time.monotonic() - began < SECONDS_AT_ONCE
    lines = reader.get(f"/api/runs/{succeeded}/logs").json()["lines"]
    assert follower.received.messages == [line["message"] for line in lines]
    assert follower.received.others == [("end", {"status": "succeeded"})]
    assert follower.received.retry is not None
    for place, cursor in enumerate(follower.received.ids, start=1):
        for params, headers in (({"since": cursor}, {}), ({}, {"Last-Event-ID": cursor})):
            with Follower(reader, succeeded, headers=headers, **params) as again:
                again.wait_for_end()
            assert again.received.messages == follower.received.messages[place:]
            assert again.received.others == [("end", {"status": "succeeded"})]


def settle(url: str, run_id: str) -> None:
    """Let a run have ended an hour ago, when nothing of it can be under way any more."""
    with superuser(url) as cursor:
        cursor.execute("UPDATE runs SET end_time = end_time - 3600 WHERE run_id = %s", (decode_run_id(run_id),))


def test_history_comes_first_then_lines_as_they_come(
    run: DagsterRun, reader: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """A line reaches the follower at once after its insert; the end follows the run's last line."""
    late: list[float] = []
    with writer(database_url) as connection, Follower(reader, encode_run_id(run.run_id)) as follower:
        write(connection, run, "one", "two")
        follower.wait_for("one", "two")
        for number in range(6):
            write(connection, run, str(number))
            began = time.monotonic()
            follower.wait_for("one", "two", *map(str, range(number + 1)))
            late.append(follower.received.moments[-1] - began)
        instance.report_run_failed(run, message="The worker has gone")
        follower.wait_for_end()
    assert max(late) < SECONDS_AT_ONCE
    assert follower.received.messages[-1] == "Run failed: The worker has gone"
    assert follower.received.others == [("end", {"status": "failed"})]


def test_what_is_written_last_is_told_before_the_end(
    run: DagsterRun, reader: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """An event that becomes visible just after the run's final status still comes before `end`."""
    with writer(database_url) as connection, Follower(reader, encode_run_id(run.run_id)) as follower:
        write(connection, run, "begun")
        follower.wait_for("begun")
        log(connection, run_id=run.run_id, message="under way")
        instance.report_run_failed(run, message="gone")
        connection.commit()
        follower.wait_for_end()
    assert sorted(follower.received.messages) == sorted(["begun", "under way", "Run failed: gone"])
    assert follower.received.others == [("end", {"status": "failed"})]


def test_the_example_in_the_docs_follows_a_run(
    succeeded: str, reader: httpx.Client, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python of docs/follow-logs.md runs as it stands, but for address, key and run."""
    page = (Path(__file__).parents[2] / "docs" / "follow-logs.md").read_text(encoding="utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    program = program.replace("http://127.0.0.1:8000", str(reader.base_url).rstrip("/"))
    program = program.replace("plnx_live_xxxxxxxx", admin_key(database_url))
    exec(program.replace("run_5xs492r4ha9148hsddpqeqs3vr", succeeded), {})  # noqa: S102
    *lines, status = capsys.readouterr().out.splitlines()
    assert status == "succeeded"
    assert [line.split(" ", 3)[2:] for line in lines[:3]] == [
        ["-", "Run started"],
        ["n_source", "Node started"],
        ["n_source", "Started read"],
    ]


def test_filters_hold_while_following(
    run: DagsterRun, reader: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """Each follower gets the lines that it asked for, all from one poller."""
    run_id = encode_run_id(run.run_id)
    with (
        writer(database_url) as connection,
        Follower(reader, run_id, nodeId="a-b") as of_node,
        Follower(reader, run_id, level="error") as serious,
        Follower(reader, run_id, level="debug", since="2025-03-27T03:00:00Z") as late,
        Follower(reader, run_id) as all_of_it,
    ):
        for moment in ("before", "now"):
            log(connection, run_id=run.run_id, message=f"{moment} debug", level=10, step_key="a_x2d_b")
            log(connection, run_id=run.run_id, message=f"{moment} info", step_key="a_x2d_b")
            log(connection, run_id=run.run_id, message=f"{moment} error", level=40)
            at = datetime(2025, 3, 27, 4, tzinfo=UTC)
            log(connection, run_id=run.run_id, message=f"{moment} late", level=10, at=at)
            connection.commit()
            told = ["before", "now"][: 1 if moment == "before" else 2]
            all_of_it.wait_for(*(f"{when} {what}" for when in told for what in ("info", "error")))
        of_node.wait_for("before info", "now info")
        serious.wait_for("before error", "now error")
        late.wait_for("before late", "now late")
        instance.report_run_canceled(run)
        for follower in (of_node, serious, late, all_of_it):
            follower.wait_for_end()
            assert follower.received.others == [("end", {"status": "canceled"})]


def test_transactions_that_end_in_any_order_while_being_followed(
    run: DagsterRun, reader: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """Many writers, whose transactions overlap and some of which roll back; followers who come and go at any moment."""
    run_id, chance = encode_run_id(run.run_id), random.Random(7)  # noqa: S311
    written: list[str] = []
    halt = Event()

    def keep_writing(writer_number: int) -> None:
        own = random.Random(writer_number)  # noqa: S311
        with writer(database_url) as connection:
            for number in range(60):
                names = [f"{writer_number}.{number}.{part}" for part in range(own.randint(1, 3))]
                for name in names:
                    log(connection, run_id=run.run_id, message=name)
                halt.wait(own.random() * 0.03)
                if own.random() < 0.2:
                    connection.rollback()
                else:
                    connection.commit()
                    written.extend(names)

    with ThreadPoolExecutor() as pool:
        writing = [pool.submit(keep_writing, number) for number in range(4)]
        parts: list[list[str]] = []
        cursor: dict[str, str] = {}
        with Follower(reader, run_id) as steady:
            while not all(one.done() for one in writing):
                with Follower(reader, run_id, headers=cursor) as passing:
                    halt.wait(chance.random() * 0.4)
                    passing.leave()
                if passing.received.ids:
                    cursor = {"Last-Event-ID": passing.received.ids[-1]}
                parts.append(passing.received.messages)
            for one in writing:
                one.result()
            instance.report_run_failed(run, message="done")
            steady.wait_for_end()
        with Follower(reader, run_id, headers=cursor) as last:
            last.wait_for_end()
    everything = sorted([*written, "Run failed: done"])
    assert sorted(steady.received.messages) == everything
    assert sorted(message for part in [*parts, last.received.messages] for message in part) == everything


def test_a_slow_follower_costs_no_memory_and_loses_nothing(
    run: DagsterRun, reader: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """Who does not read is dropped back to the log itself, and has all of it in the end."""
    number = 30_000
    path = f"/api/runs/{encode_run_id(run.run_id)}/logs"
    with (
        Follower(reader, encode_run_id(run.run_id)) as quick,
        reader.stream("GET", path, headers={"Accept": "text/event-stream"}) as answer,
    ):
        for written in range(6000, number + 1, 6000):
            write_events(database_url, run_id=run.run_id, number=6000, length=500)
            wait_until(partial(lambda done: len(quick.received.messages) == done, written), seconds=30)
        instance.report_run_failed(run, message="done")
        quick.wait_for_end()
        slow = messages_of("".join(answer.iter_text()))
    assert len(slow) == number + 1
    assert slow == quick.received.messages


class CountingStorage(Storage):
    """A storage that counts how often it is asked whether there is anything new."""

    looks = 0

    def read_log_state(self, dagster_id: str, *, missing: Sequence[int] = ()) -> LogState | None:
        CountingStorage.looks += 1
        return super().read_log_state(dagster_id, missing=missing)


@pytest.fixture
def counted(reader_settings: ApiSettings, database_url: str) -> Iterator[httpx.Client]:
    """The API over a storage that counts."""

    @contextmanager
    def open_counting(settings: ApiSettings) -> Iterator[Services]:
        with open_services(settings) as services:
            storage = CountingStorage(services.storage._database, outline=services.storage._outline)
            yield replace(services, storage=storage)

    app = create_app(reader_settings, open_services=open_counting)
    with serve(app, key=admin_key(database_url)) as client:
        yield client


def looks_meanwhile(seconds: float = 1.0) -> int:
    before = CountingStorage.looks
    Event().wait(seconds)
    return CountingStorage.looks - before


def test_one_poller_however_many_watch(run: DagsterRun, counted: httpx.Client, database_url: str) -> None:
    """Twenty followers of a run cost the database no more looks than one does, and all get each line in time."""
    run_id = encode_run_id(run.run_id)
    with writer(database_url) as connection, ExitStack() as stack:
        write(connection, run, "begun")
        followers = [stack.enter_context(Follower(counted, run_id)) for _ in range(20)]
        for follower in followers:
            follower.wait_for("begun")
        assert 1 <= looks_meanwhile() <= 8
        write(connection, run, "news")
        began = time.monotonic()
        for follower in followers:
            follower.wait_for("begun", "news")
            assert follower.received.moments[-1] - began < SECONDS_AT_ONCE
        for follower in followers:
            follower.leave()
        write(connection, run, "more news")
    assert looks_meanwhile() <= 2
    assert looks_meanwhile(0.5) == 0  # nobody watches any more


def follow_alone(
    storage: Storage,
    run: DagsterRun,
    *,
    lease: StreamLease,
    take: Callable[[list[bytes]], bool],
    stopping: Callable[[], bool] = lambda: False,
) -> list[bytes]:
    """Follow without a server, at a quick pace, until the stream ends or `take` has enough."""

    async def follow() -> list[bytes]:
        followers = Followers(
            storage,
            threads=Threads(4, name="streams"),
            stopping=stopping,
            pace=Pace(poll=0.02, look=0.02, heartbeat=0.1),
        )
        followed = Followed(
            run_id=encode_run_id(run.run_id),
            dagster_id=run.run_id,
            start=LogPosition(),
            filter_by=LogFilter(),
            settled=False,
            request_id="request-1",
        )
        received: list[bytes] = []
        async with asyncio.timeout(20), aclosing(followers.follow(followed, lease=lease)) as events:
            async for event in events:
                received.append(event)
                if take(received):
                    break
        await followers.close()
        return received

    return asyncio.run(follow())


def lease() -> StreamLease:
    principal = Principal(kind="key", id="key_1", name="tests", scopes=frozenset())
    return StreamLease(principal, release=lambda _: None)


def test_silence_is_broken_by_heartbeats(run: DagsterRun, storage: Storage) -> None:
    """While nothing happens, comments tell the caller and whatever is between that the stream is alive."""
    received = follow_alone(storage, run, lease=lease(), take=lambda received: len(received) == 4)
    assert received == [b"retry: 2000\n\n", *[b": heartbeat\n\n"] * 3]


def test_a_stream_ends_with_its_credential(run: DagsterRun, storage: Storage) -> None:
    """Once the credential is revoked, the stream says so and closes."""
    mine = lease()

    def revoke(received: list[bytes]) -> bool:
        mine.end()
        return False

    received = follow_alone(storage, run, lease=mine, take=revoke)
    assert received[-1].startswith(b"event: revoked\ndata: ")
    error = json.loads(received[-1].partition(b"data: ")[2])["error"]
    assert (error["code"], error["details"], error["requestId"]) == ("unauthorized", [], "request-1")


def test_a_stream_ends_with_its_server(run: DagsterRun, storage: Storage) -> None:
    """When the server is told to stop, streams close without an end, so that followers come back."""
    received = follow_alone(
        storage,
        run,
        lease=lease(),
        take=lambda _: False,
        stopping=chain([False] * 3, repeat(True)).__next__,
    )
    assert not [event for event in received if event.startswith(b"event:")]


def test_a_run_that_is_deleted_ends_too(run: DagsterRun, storage: Storage, instance: DagsterInstance) -> None:
    """`end` comes with no status once the run is gone."""

    def delete(received: list[bytes]) -> bool:
        instance.delete_run(run.run_id)
        return False

    received = follow_alone(storage, run, lease=lease(), take=delete)
    assert received[-1] == b'event: end\ndata: {"status":null}\n\n'


def test_a_database_that_goes_away_and_comes_back(tmp_path: Path, postgres_url: str, postgres_server: str) -> None:
    """A follower waits for Postgres and goes on where it was, without a new request."""
    settings = ApiSettings(postgres_url=postgres_url, dagster_home=str(tmp_path), code_server_port=1)
    with dagster_home(tmp_path, url=postgres_url) as instance, serving(settings) as client:
        run = make_run(instance, status=DagsterRunStatus.STARTED)
        with Follower(client, encode_run_id(run.run_id)) as follower:
            with writer(postgres_url) as connection:
                write(connection, run, "before")
            follower.wait_for("before")
            with away(postgres_url, server=postgres_server):
                assert client.get("/api/runs").status_code == 503
            with writer(postgres_url) as connection:
                write(connection, run, "after")
            follower.wait_for("before", "after")
            follower.leave()
            with writer(postgres_url) as connection:
                write(connection, run, "more")


@contextmanager
def away(url: str, *, server: str) -> Iterator[None]:
    with superuser(url) as cursor:
        cursor.execute("SELECT current_database()")
        (name,) = cursor.fetchone() or ("",)
    with superuser(server) as cursor:
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


@pytest.mark.stack
def test_a_revoked_key_ends_its_streams(run: DagsterRun, reader: httpx.Client, database_url: str) -> None:
    """Within ten seconds of the revocation the stream has said so and closed."""
    with open_records(database_url) as records:
        key, secret = records.keys.create("streams", scopes=[Scope.PIPELINES_READ], at=datetime.now(UTC))
        headers = {"Authorization": f"Bearer {secret}"}
        with Follower(reader, encode_run_id(run.run_id), headers=headers) as follower:
            wait_until(lambda: follower.received.retry is not None, seconds=10)
            records.keys.revoke(key.id, at=datetime.now(UTC))
            assert follower.done.wait(timeout=10)
    assert [name for name, _ in follower.received.others] == ["revoked"]


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_with_open_streams_stops_when_it_is_told_to(
    number: signal.Signals, run: DagsterRun, reader_settings: ApiSettings, database_url: str
) -> None:
    """uvicorn ends within its few seconds, and the streams with it, without an `end`."""
    port = free_port()
    environment = {
        **os.environ,
        "PLANASONIX_POSTGRES_URL": reader_settings.postgres_url,
        "DAGSTER_HOME": reader_settings.dagster_home,
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "api_adapter.asgi:load_app", "--port", str(port)]
    with subprocess.Popen(command, env=environment) as server:
        url = f"http://127.0.0.1:{port}"
        headers = {"Authorization": f"Bearer {admin_key(database_url)}"}
        with httpx.Client(base_url=url, headers=headers, trust_env=False) as client:
            wait_until(lambda: is_alive(client, server), seconds=60)
            with Follower(client, encode_run_id(run.run_id)) as follower:
                wait_until(lambda: follower.received.retry is not None, seconds=10)
                server.send_signal(number)
                server.wait(timeout=20)  # a stream that nobody ends would keep it for ever
        assert follower.received.others == []


def is_alive(client: httpx.Client, server: "subprocess.Popen[bytes]") -> bool:
    assert server.poll() is None
    try:
        return client.get("/livez").status_code == 200
    except httpx.ConnectError:
        return False
