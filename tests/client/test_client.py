"""The client against a service that answers as each test says, over real HTTP."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from api_adapter.client import ForeignAnswerError, LogEnd, Patience, RefusedError, RunsClient, UnreachableError
from tests.api.credentials import closed_port

KEY = "plnx_live_xxxxxxxx"
RUN = "run_5xs492r4ha9148hsddpqeqs3vr"
QUICK = Patience(total=5, first_pause=0.01, longest_pause=0.05, come_back=0.01)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the service answers once. `broken`: the connection ends before the body does."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False


@dataclass
class Asked:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[str, list[Asked]]]:
    """The address of a service that gives these answers in turn, and what it is asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(Asked(self.command, self.path, dict(self.headers), body))
            answer = answers[len(asked) - 1]
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) + answer.broken))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = answer.broken

        do_GET = do_POST = do_DELETE = answer  # noqa: N815  (their names for it)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def failure(code: str, *, status: int, **headers: str) -> Answer:
    body = json.dumps({"error": {"code": code, "message": f"It is {code}", "requestId": "r1"}}).encode()
    return Answer(status=status, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def events(*told: tuple[str, Any], broken: bool = False) -> Answer:
    """A stream of events, each its kind (or, of a line, its cursor) and data."""
    text = "retry: 2000\n\n: heartbeat\n\n"
    for kind, data in told:
        name = "id" if kind.startswith("crs_") else "event"
        text += f"{name}: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
    return Answer(body=text.encode(), headers={"Content-Type": "text/event-stream"}, broken=broken)


def line(message: str) -> dict[str, Any]:
    return {"ts": "2025-03-27T02:00:05Z", "level": "info", "nodeId": None, "message": message}


def messages(told: Sequence[Any]) -> list[Any]:
    return [one.status if isinstance(one, LogEnd) else one["message"] for one in told]


def test_the_key_goes_into_the_header_alone() -> None:
    """As a bearer token; the answer comes back as it is."""
    with answering(Answer(body=b'{"id": "x"}')) as (url, asked), RunsClient(url, key=KEY) as client:
        assert client.read_run(RUN) == {"id": "x"}
    assert asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert (asked[0].method, asked[0].path) == ("GET", f"/api/runs/{RUN}")


def test_names_can_not_leave_their_place_in_a_path() -> None:
    """Slashes, question marks and dots of an id are data."""
    with answering(Answer()) as (url, asked), RunsClient(f"{url}/v1", key=KEY) as client:
        client.read_run("../a?b#c")
    assert asked[0].path == "/v1/api/runs/..%2Fa%3Fb%23c"


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_busy_service_is_asked_again(status: int) -> None:
    """A start is sent with its key each time."""
    with (
        answering(failure("busy", status=status), Answer(status=202)) as (url, asked),
        RunsClient(url, key=KEY, patience=QUICK) as client,
    ):
        client.start_run("pl_a", idempotency_key="k", variables={"top": 3}, nodes=["n_a"], priority=2)
    assert [(one.headers["Idempotency-Key"], json.loads(one.body)) for one in asked] == [
        ("k", {"variables": {"top": 3}, "nodes": ["n_a"], "priority": 2})
    ] * 2


def test_a_service_that_says_when_is_asked_then() -> None:
    """No sooner; whoever waits is told."""
    told: list[str] = []
    began = time.monotonic()
    with (
        answering(failure("busy", status=503, Retry_After="1"), Answer()) as (url, _),
        RunsClient(url, key=KEY, patience=QUICK, told=told.append) as client,
    ):
        client.read_run(RUN)
    assert time.monotonic() - began >= 1
    assert told == ["It is busy; trying again in 1 s"]


def test_patience_ends() -> None:
    """A pause that is longer than patience is not waited for; the service's own words are the error."""
    with (
        answering(failure("rate_limited", status=429, Retry_After="60")) as (url, asked),
        RunsClient(url, key=KEY, patience=QUICK) as client,
        pytest.raises(RefusedError, match="It is rate_limited") as caught,
    ):
        client.read_run(RUN)
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (429, "rate_limited", "r1")
    assert len(asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500, 504])
def test_other_failures_are_not_tried_again(status: int) -> None:
    """They would be the same."""
    with (
        answering(failure("no", status=status)) as (url, asked),
        RunsClient(url, key=KEY, patience=QUICK) as client,
        pytest.raises(RefusedError),
    ):
        client.cancel_run(RUN)
    assert len(asked) == 1


def test_a_service_that_was_never_there_is_not_waited_for() -> None:
    """At once: it is more likely that the address is wrong."""
    url = f"http://127.0.0.1:{closed_port()}"
    with RunsClient(url, key=KEY) as client, pytest.raises(UnreachableError, match=url) as caught:
        client.read_run(RUN)
    assert not caught.value.lost


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    """Once the service has been reached."""
    with (
        answering(Answer(), Answer(broken=True), Answer(body=b'{"id": "x"}')) as (url, asked),
        RunsClient(url, key=KEY, patience=QUICK) as client,
    ):
        client.read_run(RUN)
        assert client.read_run(RUN) == {"id": "x"}
    assert len(asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>"),
        Answer(body=b"[]"),
        Answer(status=404, body=b"<html>"),
        Answer(status=404, body=b'{"error": "no"}'),
        Answer(status=302, headers={"Location": "/login"}),
    ],
)
def test_somebody_elses_answers_are_told_apart(answer: Answer) -> None:
    """What is not the API's JSON, a redirection too, comes from something else at that address."""
    with (
        answering(answer) as (url, _),
        RunsClient(url, key=KEY, patience=QUICK) as client,
        pytest.raises(ForeignAnswerError, match=url),
    ):
        client.read_run(RUN)


def test_a_log_is_followed_without_a_gap() -> None:
    """A stream that breaks off, or is closed without an end, is taken up behind the last line."""
    with (
        answering(
            events(("crs_1", line("a")), ("crs_2", line("b")), broken=True),
            events(("crs_3", line("c"))),
            failure("unavailable", status=503),
            events(("end", {"status": "failed"})),
        ) as (url, asked),
        RunsClient(url, key=KEY, patience=QUICK) as client,
    ):
        told = list(client.follow_log(RUN, nodeId="n_a", since="24", level=None))
    assert messages(told) == ["a", "b", "c", "failed"]
    assert [one.headers.get("Last-Event-ID") for one in asked] == [None, "crs_2", "crs_3", "crs_3"]
    assert {one.path.partition("?")[2] for one in asked} == {"nodeId=n_a&since=24"}
    assert [one["cursor"] for one in told if not isinstance(one, LogEnd)] == ["crs_1", "crs_2", "crs_3"]


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0c"])
def test_a_message_may_hold_what_unicode_takes_for_the_end_of_a_line(mark: str) -> None:
    r"""Only \n ends a line of a stream."""
    stream = events(("crs_1", line(f"a{mark}b")), ("end", {"status": None}))
    record = json.dumps({**line(f"a{mark}b"), "cursor": "crs_1"}, ensure_ascii=False).encode() + b"\n"
    with answering(stream, Answer(body=record)) as (url, _), RunsClient(url, key=KEY) as client:
        assert messages(list(client.follow_log(RUN))) == [f"a{mark}b", None]
        assert messages(list(client.read_log(RUN))) == [f"a{mark}b"]


def test_a_credential_that_ends_meanwhile_ends_the_stream() -> None:
    """With the error that the event carries; there is no coming back."""
    error = {"error": {"code": "unauthorized", "message": "no longer valid"}}
    with (
        answering(events(("revoked", error))) as (url, _),
        RunsClient(url, key=KEY) as client,
        pytest.raises(RefusedError, match="no longer valid") as caught,
    ):
        list(client.follow_log(RUN))
    assert caught.value.status == 401


def test_a_log_is_read_without_a_gap() -> None:
    """A long answer that breaks off, within a line too, is taken up behind the last whole line."""
    first, second, third = (json.dumps({**line(text), "cursor": f"crs_{text}"}).encode() + b"\n" for text in "abc")
    with (
        answering(Answer(body=first + second[:20], broken=True), Answer(body=second + third)) as (url, asked),
        RunsClient(url, key=KEY, patience=QUICK) as client,
    ):
        assert messages(list(client.read_log(RUN, since="2025-03-27"))) == ["a", "b", "c"]
    assert [one.path.partition("?")[2] for one in asked] == ["since=2025-03-27", "since=crs_a"]
