"""Every way to fail has one shape; what is away comes back by itself."""

import json
import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from traceback import format_exception
from typing import Any

import httpx
import pytest
from dagster import DagsterInstance
from fastapi import FastAPI
from sqlalchemy import create_engine
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api_adapter.app import create_app
from api_adapter.asgi import open_services
from api_adapter.control.variables import find_values
from api_adapter.dependencies import Services
from api_adapter.errors import ApiError, InvalidRequestError
from api_adapter.exception_handlers import CODES, add_exception_handlers, answer_failure
from api_adapter.middleware.bodies import MOST_BYTES, BodyMiddleware
from api_adapter.middleware.failures import FailuresMiddleware
from api_adapter.middleware.protocol import MOST_BYTES as MOST_BYTES_OF_HEADERS
from api_adapter.middleware.protocol import ApiProtocol
from api_adapter.settings import ApiSettings, InvalidSettingError, MissingSettingError, load_settings
from api_adapter.storage import ListedRun, RunFilter, RunRecord, Storage
from api_adapter.storage.database import Database
from planasonix_orchestrator.contract.values import VariableValue
from planasonix_orchestrator.runtime.leftovers import POSTGRES_FOLDER, guarded
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres
from tests.api.conftest import admin_key, dagster_home, free_port, running_code_server, serving
from tests.api.layered import SECRET, layered
from tests.api.serving import serve
from tests.api.waiting import wait_until
from tests.conftest import superuser

LEAKS = re.compile(r"Traceback|File \\?\"|\.py\b|SELECT|psycopg2|sqlalchemy|site-packages|pydantic|host=|/tmp/")


def assert_error_shape(answer: httpx.Response, *, head: bool = False) -> None:
    """The one body that every failure has, and nothing in it of how the service works inside."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if head:
        assert answer.content == b""
        return
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "details", "requestId"]
    assert body["error"]["requestId"] == answer.headers["x-request-id"]
    assert all(set(detail) == {"field", "issue"} for detail in body["error"]["details"])
    assert not LEAKS.search(answer.text)
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/api", 404, "not_found"),
        ("GET", "/api/run", 404, "not_found"),
        ("GET", "/api/runs/", 404, "not_found"),
        ("GET", "/v1/api/runs/", 404, "not_found"),
        ("GET", "/v2/api/runs", 404, "not_found"),
        ("GET", "/%00/%ff/%F0%9F", 404, "not_found"),
        ("GET", "/" + "x" * 5000, 404, "not_found"),
        ("HEAD", "/api/run", 404, "not_found"),
        ("PUT", "/api/runs", 405, "method_not_allowed"),
        ("OPTIONS", "/api/runs", 405, "method_not_allowed"),
        ("PROPFIND", "/api/runs", 405, "method_not_allowed"),
        ("POST", "/v1/api/runs/run_00000000000000000000000000", 405, "method_not_allowed"),
        ("GET", "/api/runs?limit=x", 400, "invalid_request"),
        ("HEAD", "/api/runs?limit=x", 400, "invalid_request"),
        ("GET", "/api/runs?cursor=x", 400, "invalid_request"),
        ("GET", "/api/runs?status=done", 400, "invalid_request"),
        ("GET", "/api/runs?pipelineId=%00", 400, "invalid_request"),
        ("GET", "/api/runs/unknown", 404, "run_not_found"),
        ("GET", "/api/runs/%00", 404, "run_not_found"),
        ("HEAD", "/api/runs/unknown", 404, "run_not_found"),
        ("GET", "/api/runs/unknown/nodes", 404, "run_not_found"),
        ("GET", "/api/runs/unknown/logs", 404, "run_not_found"),
        ("DELETE", "/api/runs/unknown", 404, "run_not_found"),
        ("GET", "/api/pipelines", 503, "unavailable"),
        ("GET", "/api/pipelines/pl_x", 503, "unavailable"),
        ("POST", "/api/pipelines/pl_x/run", 503, "unavailable"),
        ("GET", "/readyz", 503, "not_ready"),
    ],
)
def test_every_failure_has_the_one_shape(method: str, path: str, status: int, code: str, reader: httpx.Client) -> None:
    """Routing, validation, not found, and a code server that is away all answer alike."""
    answer = reader.request(method, path)
    assert answer.status_code == status
    assert_error_shape(answer, head=method == "HEAD")
    if method != "HEAD":
        assert answer.json()["error"]["code"] == code
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0


def test_strangers_are_refused_in_the_one_shape(reader: httpx.Client) -> None:
    """Without a credential, 401 with the way to authenticate."""
    answer = reader.get("/api/runs", headers={"Authorization": ""})
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers
    assert_error_shape(answer)


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_a_wrong_method_is_told_all_that_are_possible(prefix: str, reader: httpx.Client) -> None:
    """405 names in Allow the methods of all routes at the path, and HEAD where there is GET."""
    answer = reader.put(f"{prefix}/api/runs/run_1")
    assert answer.headers["allow"] == "DELETE, GET, HEAD"
    for path, methods in (("runs/cancel", "POST"), ("runs/stats", "GET, HEAD")):  # also templates for any run's id
        assert reader.put(f"{prefix}/api/{path}").headers["allow"] == methods


def test_a_wrong_method_is_told_what_is_possible_with_files_too(reader: httpx.Client) -> None:
    """The assets of the reference page are no routes, and can be read all the same."""
    assert reader.post("/docs/assets/swagger-ui.css").headers["allow"] == "GET, HEAD"


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "headers", "status", "fields"),
    [
        (b"{", JSON, 400, ["body"]),
        (b'"\xff"', JSON, 400, ["body"]),
        (b"[" * 100_000, JSON, 400, ["body"]),
        (b"9" * 5000, JSON, 400, ["body"]),
        (b"[]", JSON, 400, ["body"]),
        (b"{}", JSON, 400, ["name"]),
        (b'{"name": "x", "\\ud800": 1}', JSON, 400, ["body"]),
        (b'{"name": 1}', {"Content-Type": "application/vnd.api+json"}, 400, ["name"]),
        (b'{"name": "x"}', {}, 415, []),
        (b'{"name": "x"}', {"Content-Type": "text/plain"}, 415, []),
        (b"name=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, []),
        (b"x" * (MOST_BYTES + 1), JSON, 413, []),
        (b"x" * (40 * MOST_BYTES), {}, 413, []),
    ],
)
def test_a_body_that_can_not_be_used(
    body: bytes, headers: dict[str, str], status: int, fields: Sequence[str], small: httpx.Client
) -> None:
    """What is not JSON, says that it is not, has wrong fields or is too large is refused, each with its own status."""
    answer = small.post("/api/things", content=body, headers=headers)
    assert answer.status_code == status
    assert_error_shape(answer)
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == fields


@pytest.fixture(scope="module")
def small() -> Iterator[httpx.Client]:
    with serve(layered()) as client:
        yield client


def test_the_largest_body_is_accepted(small: httpx.Client) -> None:
    """A body of exactly one megabyte passes, in one piece or in chunks."""
    body = b'{"name": "' + b"x" * (MOST_BYTES - 12) + b'"}'
    assert len(body) == MOST_BYTES
    pieces = (body[start : start + 9999] for start in range(0, len(body), 9999))
    for content in (body, pieces):
        assert small.post("/api/things", content=content, headers=JSON).json() == MOST_BYTES - 12


def test_a_body_without_a_length_is_bounded_while_it_is_read(small: httpx.Client) -> None:
    """An endless chunked body is answered with 413 as soon as it has passed the bound, and its connection closed."""
    with raw(
        small, "POST /api/things HTTP/1.1", "Transfer-Encoding: chunked", "Content-Type: application/json"
    ) as connection:
        chunk = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
        assert (
            sent_until_cut(connection, chunk, most=100 * MOST_BYTES) < 20 * MOST_BYTES
        )  # what buffers between the two hold


def sent_until_cut(connection: socket.socket, data: bytes, *, most: int) -> int:
    sent = 0
    while sent < most:
        try:
            sent += connection.send(data)
        except ConnectionError:
            break
    return sent


def test_a_body_that_dawdles_is_given_up() -> None:
    """408 when the body has not arrived in time, however few bytes are missing."""
    layers = [Middleware(FailuresMiddleware, answer=answer_failure), Middleware(BodyMiddleware, seconds=0.1)]
    app = FastAPI(middleware=layers)
    add_exception_handlers(app)

    @app.post("/")
    def post(body: dict[str, Any]) -> None:
        pass

    with (
        serve(app) as client,
        raw(client, "POST / HTTP/1.1", "Content-Length: 9", "Content-Type: application/json") as slow,
    ):
        slow.sendall(b"{")
        answer = slow.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


@pytest.mark.parametrize("request_line", ["BREW /api/things/a HTTP/1.1", "GET /api/things/a HTTP/9.9", "hello"])
def test_what_is_not_http_is_refused_in_the_one_shape(request_line: str, small: httpx.Client) -> None:
    """Invented methods and garbage, which reach no application, are answered with 400 and closed."""
    with raw(small, request_line) as connection:
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    error = json.loads(body)["error"]
    assert (error["code"], list(error)) == ("invalid_request", ["code", "message", "details", "requestId"])
    assert f"x-request-id: {error['requestId']}".encode() in head


def test_a_variable_of_many_digits_is_a_number() -> None:
    """Numbers that no float can hold are checked as all others are."""
    declared: dict[str, dict[str, object]] = {
        "top": {"type": "integer"},
        "share": {"type": "number"},
        "on": {"type": "boolean", "default": True},
    }
    values = {"top": 10**4000, "share": 10**4000}
    nothing: dict[str, VariableValue] = {}
    assert find_values(declared, given=values, environment=nothing, global_=nothing) == {**values, "on": True}
    for wrong in ({"share": float("inf")}, {"top": True}, {"top": 1.5}, {"on": 1}):
        with pytest.raises(InvalidRequestError):
            find_values(declared, given=wrong, environment=nothing, global_=nothing)


def connected(client: httpx.Client) -> socket.socket:
    """A connection on which nothing has been sent."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=30)


@contextmanager
def raw(client: httpx.Client, request: str, *headers: str) -> Iterator[socket.socket]:
    """A connection on which the head of a request has been sent."""
    with connected(client) as connection:
        connection.sendall("\r\n".join([request, "Host: test", *headers, "", ""]).encode())
        yield connection


@pytest.mark.parametrize(
    ("beginning", "more"),
    [
        ("X-Long: x", "x" * 60_000),
        ("X-Many: x\r\n", "X-Many: x\r\n" * 6000),
        ("Transfer-Encoding: chunked\r\n\r\n1;extension=", "x" * 60_000),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-Trailer: x\r\n" * 6000),
    ],
)
def test_what_is_no_body_is_bounded(beginning: str, more: str, small: httpx.Client) -> None:
    """The headers of a request, and what may stand around the chunks of its body, fill no memory."""
    with connected(small) as connection:
        connection.sendall(f"POST /api/things HTTP/1.1\r\nHost: test\r\n{beginning}".encode())
        assert sent_until_cut(connection, more.encode(), most=100 * MOST_BYTES) < 20 * MOST_BYTES


def test_headers_that_are_too_large_are_told_so(small: httpx.Client) -> None:
    """A caller who sends no more than that can read why he is refused."""
    with connected(small) as connection:
        connection.sendall(b"GET /api/things/a HTTP/1.1\r\nX-Long: " + b"x" * MOST_BYTES_OF_HEADERS)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"headers_too_large"' in answer


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: te", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_request_that_dawdles_is_given_up(sent: bytes) -> None:
    """Nobody keeps a connection by never ending a request; one that was begun is answered."""

    class Hasty(ApiProtocol):
        seconds_to_arrive = 0.1

    with serve(FastAPI(), http=Hasty) as client, connected(client) as slow:
        slow.sendall(sent)
        answer = slow.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408 ") == sent.startswith(b"G")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_bug_leaks_nothing(method: str, small: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """An unforeseen error gives 500 in the same shape, without a word of the exception, which the log has."""
    answer = small.request(method, "/api/bug")
    assert answer.status_code == 500
    assert_error_shape(answer, head=method == "HEAD")
    assert SECRET in caplog.text


class BreakingMiddleware:
    """A layer with a bug."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raise RuntimeError(SECRET)
        await self._app(scope, receive, send)


@pytest.mark.parametrize("place", [0, 4, 6, 8])
def test_a_bug_in_any_layer_leaks_nothing(place: int) -> None:
    """An error in the outermost layer, in the innermost or between them is answered as any other bug."""
    app = layered()
    app.user_middleware.insert(place, Middleware(BreakingMiddleware))
    with serve(app) as client:
        answer = client.get("/api/things/a")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert SECRET not in answer.text


@pytest.mark.parametrize("query", ["", "?known=true"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_an_answer_that_fails_after_it_has_begun_is_cut(
    query: str, encoding: str, small: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection breaks off, so that nobody takes the part for the whole; the access log says so."""
    caplog.set_level(logging.INFO, "api_adapter.access")
    with pytest.raises(httpx.RemoteProtocolError):
        small.get(f"/api/broken-stream{query}", headers={"Accept-Encoding": encoding})
    wait_until(lambda: "api_adapter.access" in {record.name for record in caplog.records}, seconds=10)
    [line] = [vars(record) for record in caplog.records if record.name == "api_adapter.access"]
    assert (line["status"], line["cut"]) == (200, True)


class BrokenStorage(Storage):
    """A storage with a bug."""

    def read_run(self, dagster_id: str) -> RunRecord | None:
        raise RuntimeError(f"SELECT secret FROM somewhere WHERE run_id = {dagster_id}")


class SlowStorage(Storage):
    """A storage whose statements take longer than they may."""

    def list_runs(
        self,
        filter_by: RunFilter,  # noqa: ARG002
        *,
        limit: int,  # noqa: ARG002
        below: int | None = None,  # noqa: ARG002
    ) -> Sequence[ListedRun]:
        slow = "SET LOCAL statement_timeout = 10; SELECT pg_sleep(60)"
        self._database.read(lambda connection: connection.rows(slow))
        return []


def test_a_bug_in_a_room_leaks_nothing(reader_settings: ApiSettings) -> None:
    """An unforeseen error below an endpoint gives 500, without a word of the exception."""
    with serving_with(reader_settings, lambda real: BrokenStorage(real._database, outline=real._outline)) as client:
        answer = client.delete("/api/runs/unknown")
    assert answer.status_code == 500
    assert_error_shape(answer)


def test_a_statement_that_takes_too_long_is_ended(reader_settings: ApiSettings) -> None:
    """Postgres ends it after the statement timeout, and the caller gets 504."""
    with serving_with(reader_settings, lambda real: SlowStorage(real._database, outline=real._outline)) as client:
        answer = client.get("/api/runs")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    assert_error_shape(answer)


def test_more_reads_than_connections_are_refused_for_the_moment(reader_settings: ApiSettings) -> None:
    """503 when no connection becomes free in time; served again as soon as one is."""
    url = reader_settings.postgres_url.replace("postgresql://", "postgresql+psycopg2://")
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    database = Database(engine)
    try:
        with serving_with(reader_settings, lambda real: Storage(database, outline=real._outline)) as client:
            with engine.connect():
                answer = client.get("/api/runs")
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
                assert int(answer.headers["retry-after"]) > 0
                assert_error_shape(answer)
            assert client.get("/api/runs").status_code == 200
    finally:
        database.close()


@contextmanager
def serving_with(settings: ApiSettings, storage_of: Callable[[Storage], Storage]) -> Iterator[httpx.Client]:
    """The API over another storage."""

    @contextmanager
    def open_other(settings: ApiSettings) -> Iterator[Services]:
        with open_services(settings) as services:
            yield replace(services, storage=storage_of(services.storage))

    with serve(create_app(settings, open_services=open_other), key=admin_key(settings.postgres_url)) as client:
        yield client


def test_a_database_that_goes_away_and_comes_back(tmp_path: Path, postgres_url: str, postgres_server: str) -> None:
    """503 with Retry-After while Postgres refuses; the first request after its return is answered."""
    name = name_of(postgres_url)
    settings = ApiSettings(postgres_url=postgres_url, dagster_home=str(tmp_path), code_server_port=1)
    with dagster_home(tmp_path, url=postgres_url), serving(settings) as client:
        assert client.get("/api/runs").status_code == 200
        with superuser(postgres_server) as cursor:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            assert_away(client)
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert client.get("/api/runs").status_code == 200


@pytest.mark.stack
def test_a_server_that_stops_and_starts_again(tmp_path: Path) -> None:
    """503 while Postgres is stopped, the process alive; back in service by itself within 2 s of its return, twice."""
    server = EmbeddedPostgres(tmp_path / POSTGRES_FOLDER)
    log = tmp_path / "postgres.log"
    settings = ApiSettings(postgres_url=server.url(), dagster_home=str(tmp_path), code_server_port=1)
    with guarded(tmp_path):
        server.start(log=log)
        try:
            with dagster_home(tmp_path, url=server.url()), serving(settings) as client:
                for _ in range(2):
                    assert client.get("/api/runs").status_code == 200
                    server.stop()
                    assert_away(client)
                    server.start(log=log)
                    wait_until(lambda: client.get("/api/runs").status_code == 200, seconds=2)
        finally:
            server.stop()


def assert_away(client: httpx.Client) -> None:
    for path in ("/api/runs", "/api/runs/run_00000000000000000000000000/nodes", "/readyz"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] in {"unavailable", "not_ready"}
        assert int(answer.headers["retry-after"]) > 0
        assert_error_shape(answer)
    assert client.get("/livez").status_code == 200


def name_of(url: str) -> str:
    with superuser(url) as cursor:
        cursor.execute("SELECT current_database()")
        row = cursor.fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.stack
def test_a_code_server_that_goes_away_and_comes_back(home: Path, instance: DagsterInstance, database_url: str) -> None:
    """Pipelines are 503 while the code server is away; the first request after its return is answered."""
    port = free_port()
    settings = ApiSettings(postgres_url=database_url, dagster_home=str(home), code_server_port=port)
    with serving(settings) as client:
        assert client.get("/api/pipelines").status_code == 503
        for _ in range(2):
            with running_code_server(home, port=port):
                assert client.get("/api/pipelines").json()["meta"]["total"] == 6
                assert client.post("/api/pipelines/pl_crm/run").status_code == 202
            assert client.get("/api/pipelines").status_code == 503
            assert client.get("/api/runs").status_code == 200


def test_a_code_server_that_hangs_holds_no_threads(reader_settings: ApiSettings) -> None:
    """However many ask for it, who needs nothing of it does not wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:  # which accepts, and never says a word
        settings = replace(reader_settings, code_server_port=silent.getsockname()[1])
        with serving(settings) as client, ThreadPoolExecutor(60) as strangers:
            begun = monotonic()
            asked = [strangers.submit(client.get, "/readyz") for _ in range(120)]
            assert client.get("/api/runs").status_code == 200
            assert {answer.result().status_code for answer in asked} == {503}
            assert monotonic() - begun < 20  # one after the other, they would take four minutes


def test_settings_that_are_missing_or_wrong_say_what_to_do(tmp_path: Path) -> None:
    """Without a database or a Dagster home the service does not start, and says which variable to set."""
    (tmp_path / "dagster.yaml").touch()
    enough = {"PLANASONIX_POSTGRES_URL": "postgresql://x", "DAGSTER_HOME": str(tmp_path)}
    assert (
        load_settings(enough).code_server_port
        == load_settings({**enough, "PLANASONIX_CODE_SERVER_PORT": ""}).code_server_port
    )
    for variable in enough:
        with pytest.raises(MissingSettingError, match=variable):
            load_settings({name: value for name, value in enough.items() if name != variable})
    with pytest.raises(InvalidSettingError, match="PLANASONIX_CODE_SERVER_PORT"):
        load_settings({**enough, "PLANASONIX_CODE_SERVER_PORT": "none"})
    with pytest.raises(InvalidSettingError, match="DAGSTER_HOME"):
        load_settings({**enough, "DAGSTER_HOME": str(tmp_path / "elsewhere")})
    with pytest.raises(InvalidSettingError, match="PLANASONIX_JWT_JWKS_URL"):
        load_settings(
            {
                **enough,
                "PLANASONIX_JWT_ISSUER": "x",
                "PLANASONIX_JWT_AUDIENCE": "x",
                "PLANASONIX_JWT_JWKS_URL": "issuer.example/jwks.json",
            }
        )


_PASSWORD = "hunter2"


@pytest.mark.parametrize("url", ["{}", "mysql://u:{}@host/db", "postgresql://u:{}@host:none/db"])
def test_a_database_url_that_is_wrong_is_never_repeated(url: str, tmp_path: Path) -> None:
    """It may hold a password, which no message and no stack shows."""
    (tmp_path / "dagster.yaml").touch()
    with pytest.raises(InvalidSettingError, match="PLANASONIX_POSTGRES_URL") as caught:
        load_settings({"PLANASONIX_POSTGRES_URL": url.format(_PASSWORD), "DAGSTER_HOME": str(tmp_path)})
    assert _PASSWORD not in "".join(format_exception(caught.value))


def test_every_route_and_error_code_is_documented(reader: httpx.Client) -> None:
    """docs/api.md names each route with its method, and each word that `code` can be."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    paths = reader.get("/openapi.json").json()["paths"]
    routes = [f"`{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    codes = {*CODES.values(), *(error.code for error in all_errors())}
    assert [wanted for wanted in (*routes, *sorted(codes)) if wanted not in page] == []


def all_errors(kind: type[ApiError] = ApiError) -> list[type[ApiError]]:
    return [kind, *(error for child in kind.__subclasses__() for error in all_errors(child))]


def test_the_application_connects_to_nothing_before_it_is_served(reader_settings: ApiSettings) -> None:
    """The application can be made without any part of the stack."""
    app = create_app(reader_settings, open_services=open_services)
    assert not hasattr(app.state, "services")
