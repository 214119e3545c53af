"""Every way to fail has one shape; what is away comes back by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from dagster import DagsterInstance
from fastapi import FastAPI

from api_adapter.app import create_app
from api_adapter.asgi import open_services
from api_adapter.dependencies import Services
from api_adapter.errors import ApiError
from api_adapter.settings import ApiSettings, InvalidSettingError, MissingSettingError, load_settings
from api_adapter.storage import RunRecord, Storage
from tests.api.conftest import dagster_home, free_port, running_code_server, serving
from tests.api.serving import serve
from tests.conftest import superuser


def assert_error_shape(answer: httpx.Response) -> None:
    """The one body that every failure has."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    assert list(body["error"]) == ["code", "message", "details", "requestId"]
    assert body["error"]["requestId"] == answer.headers["x-request-id"]
    assert all(set(detail) == {"field", "issue"} for detail in body["error"]["details"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("GET", "/api/run", 404),
        ("GET", "/v2/api/runs", 404),
        ("PUT", "/api/runs", 405),
        ("POST", "/api/runs/run_00000000000000000000000000", 405),
        ("GET", "/api/runs?limit=x", 400),
        ("GET", "/api/runs/unknown", 404),
        ("GET", "/api/runs/unknown/nodes", 404),
        ("GET", "/api/runs/unknown/logs", 404),
        ("GET", "/api/runs/unknown/logs?limit=0", 400),
        ("GET", "/api/runs/unknown/logs?level=loud", 400),
        ("DELETE", "/api/runs/unknown", 404),
        ("GET", "/api/pipelines", 503),
        ("GET", "/api/pipelines/pl_x", 503),
        ("POST", "/api/pipelines/pl_x/run", 503),
        ("GET", "/readyz", 503),
    ],
)
def test_every_failure_has_the_one_shape(method: str, path: str, status: int, reader: httpx.Client) -> None:
    """Routing, validation, not found, and a code server that is away all answer alike."""
    answer = reader.request(method, path)
    assert answer.status_code == status
    assert_error_shape(answer)
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0


class BrokenStorage(Storage):
    """A storage with a bug."""

    def read_run(self, dagster_id: str) -> RunRecord | None:
        raise RuntimeError(f"SELECT secret FROM somewhere WHERE run_id = {dagster_id}")


def test_a_bug_leaks_nothing(settings_without_server: ApiSettings) -> None:
    """An unforeseen error gives 500 in the same shape, without a word of the exception."""
    with serve(broken_app(settings_without_server)) as client:
        answer = client.delete("/api/runs/unknown")
    assert answer.status_code == 500
    assert_error_shape(answer)
    assert "secret" not in answer.text


def broken_app(settings: ApiSettings) -> FastAPI:
    @contextmanager
    def open_broken(settings: ApiSettings) -> Iterator[Services]:
        with open_services(settings) as services:
            yield replace(services, storage=BrokenStorage(services.storage._database))

    return create_app(settings, open_services=open_broken)


@pytest.fixture
def settings_without_server(home: Path, instance: DagsterInstance, database_url: str) -> ApiSettings:
    return ApiSettings(postgres_url=database_url, dagster_home=str(home), code_server_port=1)


def test_a_database_that_goes_away_and_comes_back(tmp_path: Path, postgres_url: str, postgres_server: str) -> None:
    """503 with Retry-After while Postgres refuses; the first request after its return is answered."""
    name = name_of(postgres_url)
    settings = ApiSettings(postgres_url=postgres_url, dagster_home=str(tmp_path), code_server_port=1)
    with dagster_home(tmp_path, url=postgres_url), serving(settings) as client:
        assert client.get("/api/runs").status_code == 200
        with superuser(postgres_server) as cursor:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            answer = client.get("/api/runs")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
            assert_error_shape(answer)
            assert client.get("/livez").status_code == 200
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert client.get("/api/runs").status_code == 200


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
                assert client.get("/api/pipelines").json()["meta"]["total"] == 4
                assert client.post("/api/pipelines/pl_crm/run").status_code == 202
            assert client.get("/api/pipelines").status_code == 503
            assert client.get("/api/runs").status_code == 200


def test_readiness_names_each_part_that_is_away(reader: httpx.Client) -> None:
    """`details` name the code location, and not Postgres, which is there."""
    fields = {detail["field"] for detail in reader.get("/readyz").json()["error"]["details"]}
    assert "codeLocation" in fields
    assert "postgres" not in fields


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


def test_the_openapi_declares_only_our_error_shape(reader: httpx.Client) -> None:
    """FastAPI's own 422 is nowhere, every operation has an id and declares its failures."""
    document = reader.get("/openapi.json").json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 11
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert "422" not in operation["responses"]
            assert path == "/livez" or "503" in operation["responses"]


def test_every_route_and_error_code_is_documented(reader: httpx.Client) -> None:
    """docs/api.md names each route with its method, and each word that `code` can be."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    paths = reader.get("/openapi.json").json()["paths"]
    routes = [f"`{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    errors: list[type[ApiError]] = [ApiError, *ApiError.__subclasses__()]
    codes = [error.code for error in errors]
    assert [wanted for wanted in (*routes, *codes) if wanted not in page] == []


def test_the_application_connects_to_nothing_before_it_is_served(settings_without_server: ApiSettings) -> None:
    """The application can be made without any part of the stack."""
    app = create_app(settings_without_server, open_services=open_services)
    assert not hasattr(app.state, "services")
