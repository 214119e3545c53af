"""What every request and answer has in common: ids, headers, compression, HEAD, CORS, the base path, the log."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import httpx
import pytest
from dagster import DagsterInstance

from api_adapter.middleware.log_format import configure_logging
from tests.api.conftest import free_port
from tests.api.layered import SECRET, layered
from tests.api.serving import serve
from tests.api.waiting import wait_until


@pytest.fixture(scope="module")
def small() -> Iterator[httpx.Client]:
    with serve(layered()) as client:
        yield client


@pytest.mark.parametrize("given", ["a", "A.b_c-9", "x" * 128])
def test_a_fit_request_id_is_kept(given: str, small: httpx.Client) -> None:
    """The caller's own X-Request-Id comes back, in the header and in the error."""
    assert small.get("/api/things/a", headers={"X-Request-Id": given}).headers["x-request-id"] == given
    failure = small.get("/nowhere", headers={"X-Request-Id": given})
    assert failure.headers["x-request-id"] == failure.json()["error"]["requestId"] == given


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"a b", b"a\tb", b"\xc3\xa4", b"a/b", b"<script>"])
def test_an_unfit_request_id_is_replaced(given: bytes, small: httpx.Client) -> None:
    """What could do harm in a log or a page is not repeated; the request has a new id."""
    answer = small.get("/api/things/a", headers=httpx.Headers([(b"X-Request-Id", given)]))
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["x-request-id"] != small.get("/api/things/a").headers["x-request-id"]


def test_every_answer_keeps_browsers_from_misusing_it(small: httpx.Client) -> None:
    """Successes, failures and bugs carry the security headers, and say that no shared cache may keep them."""
    for path in ("/api/things/a", "/nowhere", "/api/bug"):
        headers = small.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "private, no-cache"


def test_headers_that_a_dependency_leaves_go_out_with_failures_too(small: httpx.Client) -> None:
    """What stands in `request.state.answer_headers` is in the answer, even in that of a bug."""
    assert small.get("/api/bug").headers["x-ratelimit-limit"] == "7"


def test_large_answers_are_compressed(small: httpx.Client) -> None:
    """Gzip for bodies over a kilobyte and for streams as they come; never for events, nor where it is not accepted."""
    large = small.get("/api/large")
    assert large.headers["content-encoding"] == "gzip"
    assert int(large.headers["content-length"]) < len(large.content) / 10
    assert "Accept-Encoding" in large.headers["vary"]
    for path, accept in (("/api/things/a", "gzip"), ("/api/large", "identity"), ("/api/stream?events=true", "gzip")):
        with small.stream("GET", path, headers={"Accept-Encoding": accept}) as answer:
            assert "content-encoding" not in answer.headers
    with small.stream("GET", "/api/stream") as stream:
        assert stream.headers["content-encoding"] == "gzip"
        assert next(stream.iter_lines()) == '{"line": 1}'


@pytest.mark.parametrize("path", ["/api/things/a", "/api/large", "/nowhere", "/api/bug"])
def test_head_answers_as_get_without_a_body(path: str, small: httpx.Client) -> None:
    """HEAD has the status and the headers of GET, the length too."""
    get, head = small.get(path), small.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    own = {"x-request-id", "date"}
    assert {name: value for name, value in head.headers.items() if name not in own} == {
        name: value for name, value in get.headers.items() if name not in own
    }


@pytest.mark.parametrize("query", ["", "?events=true"])
def test_head_of_a_stream_ends_at_once(query: str, small: httpx.Client) -> None:
    """HEAD of an endless stream answers with its headers and starts nothing."""
    answer = small.head(f"/api/stream{query}")
    assert (answer.status_code, answer.content) == (200, b"")


def test_below_the_versioned_base_path_answer_the_same_routes(small: httpx.Client) -> None:
    """`/v1/api` is `/api`; nothing else is below `/v1`."""
    assert small.get("/v1/api/things/a").json() == small.get("/api/things/a").json()
    assert small.head("/v1/api/things/a").status_code == 200
    for path in ("/v1/openapi.json", "/v1/v1/api/things/a", "/v1api/things/a", "/v2/api/things/a", "/v1"):
        assert small.get(path).status_code == 404


def test_cross_origin_requests_are_closed_unless_configured(small: httpx.Client) -> None:
    """Without origins in the settings no answer carries a CORS header, and a preflight is a plain 405."""
    origin = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    for answer in (
        small.get("/api/things/a", headers=origin),
        small.options("/api/things/a", headers=origin),
        small.get("/api/bug", headers=origin),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_configured_origins_may_call_and_read_failures_too() -> None:
    """A configured origin is allowed, with our headers to be read, in successes, failures and bugs; another is not."""
    with serve(layered(cors_origins=("https://app.example",))) as client:
        for path in ("/api/things/a", "/nowhere", "/api/bug"):
            headers = client.get(path, headers={"Origin": "https://app.example"}).headers
            assert headers["access-control-allow-origin"] == "https://app.example"
            assert "X-Request-Id" in headers["access-control-expose-headers"]
            assert "Origin" in headers["vary"]
            other = client.get(path, headers={"Origin": "https://evil.example"}).headers
            assert "access-control-allow-origin" not in other
        asks = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}
        allowed = client.options("/api/things/a", headers={"Origin": "https://app.example", **asks})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://app.example")
        refused = client.options("/api/things/a", headers={"Origin": "https://evil.example", **asks})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_request")
        assert "access-control-allow-origin" not in refused.headers


def access_lines(caplog: pytest.LogCaptureFixture, *, count: int) -> list[dict[str, object]]:
    """The access log's lines, once there are so many: a line is written after its answer has been sent."""
    wait_until(lambda: len([r for r in caplog.records if r.name == "api_adapter.access"]) >= count, seconds=10)
    return [vars(record) for record in caplog.records if record.name == "api_adapter.access"]


def test_each_request_has_one_line_in_the_access_log(caplog: pytest.LogCaptureFixture, small: httpx.Client) -> None:
    """Who asked for what and how it went, with the route's template; never a query or a header."""
    caplog.set_level(logging.INFO, "api_adapter.access")
    answer = small.get("/v1/api/things/abc?token=hidden", headers={"Authorization": "hidden", "X-Request-Id": "r1"})
    small.head("/api/things/abc")
    small.get("/nowhere")
    small.get("/api/bug")
    get, head, lost, bug = access_lines(caplog, count=4)
    expected = {"method": "GET", "route": "/api/things/{name}", "path": "/v1/api/things/abc", "status": 200}
    expected |= {"bytes": len(answer.content), "client": "127.0.0.1", "request_id": "r1", "credential": None}
    assert expected.items() <= get.items()
    assert isinstance(get["duration_ms"], float)
    assert (head["method"], head["route"], head["bytes"]) == ("HEAD", "/api/things/{name}", 0)
    assert (lost["route"], lost["status"]) == (None, 404)
    assert (bug["status"], bug["credential"]) == (500, "key_1")
    assert "hidden" not in caplog.text + repr([vars(record) for record in caplog.records])


def test_a_stream_is_logged_when_it_ends(caplog: pytest.LogCaptureFixture, small: httpx.Client) -> None:
    """The line of a stream comes after its last byte and counts all of them; it says when the caller left early."""
    caplog.set_level(logging.INFO, "api_adapter.access")
    with small.stream("GET", "/api/stream?events=true") as stream:
        chunks = stream.iter_raw()  # whose end would close the connection
        read = len(next(chunks))
        assert "/api/stream" not in repr([vars(record) for record in caplog.records])
    [line] = access_lines(caplog, count=1)
    assert (line["status"], line["cut"]) == (200, True)
    assert isinstance(line["bytes"], int)
    assert line["bytes"] >= read


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    """Puts every logger back as it was."""
    loggers = [logging.getLogger(name) for name in ("", *logging.root.manager.loggerDict)]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    logging.captureWarnings(capture=False)
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


PASSWORD = "hidden"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("untouched_logging")
@pytest.mark.parametrize("path", ["/api/runs", '/api/r"u\ns', "/api/müsli", "/api/\ud800"])
def test_the_line_of_a_request_is_as_structlog_writes_it(path: str) -> None:
    """Whatever the path has, the entry is the same, and takes one line of ASCII."""
    fields = {"method": "GET", "route": None, "path": path, "status": 200, "duration_ms": 1.5, "bytes": 7}
    fields |= {"client": "127.0.0.1", "request_id": "r1", "credential": "key_1", "cut": True}
    lines = []
    for name in ("api_adapter.access", "api_adapter.accessible"):
        configure_logging(stream := StringIO())
        logging.getLogger(name).info("request", extra=fields)
        (line,) = stream.getvalue().splitlines()
        assert line.isascii()
        lines.append({**json.loads(line), "logger": None})
    ours, structlogs = lines
    first, second = (datetime.fromisoformat(each.pop("timestamp")) for each in lines)
    assert timedelta() <= second - first < timedelta(minutes=1)
    assert ours == structlogs == {**fields, "event": "request", "level": "info", "logger": None}


@pytest.mark.usefixtures("untouched_logging")
def test_the_log_is_json_in_a_pipe_and_readable_on_a_terminal() -> None:
    """One JSON object for each entry, stacks included; on a terminal, words. Values of variables appear in neither."""
    for stream in (StringIO(), Terminal()):
        configure_logging(stream)
        logging.getLogger("dagster.daemon").info("hello %s", "you", extra={"run": "run_1"})
        logging.getLogger("httpx").info("too much")
        try:
            break_with(PASSWORD)
        except ValueError:
            logging.getLogger("uvicorn.error").exception("it broke")
        text = stream.getvalue()
        assert "too much" not in text
        assert PASSWORD not in text
        if stream.isatty():
            assert "hello you" in text
            assert "ValueError" in text
            continue
        hello, broke = (json.loads(line) for line in text.splitlines())
        assert {
            "level": "info",
            "logger": "dagster.daemon",
            "event": "hello you",
            "run": "run_1",
        }.items() <= hello.items()
        assert hello["timestamp"].endswith("Z")
        assert broke["exception"].endswith("ValueError: 6")


@pytest.mark.usefixtures("untouched_logging")
def test_a_callers_text_forges_no_entry_and_commands_no_terminal() -> None:
    """What stands in paths may hold line breaks and escape sequences; the log shows them, and obeys none."""
    for stream in (StringIO(), Terminal()):
        configure_logging(stream)
        given = "/a\nforged \x1b[2J \x9b2J \u2028forged too"
        logging.getLogger("api_adapter").error("%s failed", given, extra={"path": given})
        text = stream.getvalue()
        assert [sign for sign in ("\x1b[2J", "\x9b", "\u2028", "\nforged") if sign in text] == []


def break_with(password: str) -> None:
    raise ValueError(len(password))


@pytest.mark.stack
def test_a_served_process_logs_only_json(home: Path, instance: DagsterInstance, database_url: str) -> None:
    """From start to end, uvicorn's own lines too, and each request once."""
    port = free_port()
    command = [sys.executable, "-m", "api_adapter", "serve", "--port", str(port)]
    environment = {**os.environ, "DAGSTER_HOME": str(home), "PLANASONIX_POSTGRES_URL": database_url}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                wait_until(lambda: answers(client), seconds=60)
                client.get("/api/nowhere?token=hidden")
                client.get("/readyz")  # which has Dagster's own libraries at work
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.stderr is not None
        lines = [line for line in server.stderr.read().splitlines() if line]
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    assert [line for line in lines if not line.startswith("{")] == []
    assert "Application shutdown complete." in {entry["event"] for entry in entries}
    [asked] = [entry for entry in entries if entry.get("path") == "/api/nowhere"]
    assert (asked["logger"], asked["event"], asked["status"]) == ("api_adapter.access", "request", 404)
    assert "hidden" not in "".join(lines)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.ConnectError:
        return False


def test_the_small_application_keeps_its_secret(small: httpx.Client) -> None:
    """What a bug says goes to the log only."""
    assert SECRET not in small.get("/api/bug").text
