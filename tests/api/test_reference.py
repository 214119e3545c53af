"""The OpenAPI document says all of every operation, and the page that shows it needs nothing from elsewhere."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from api_adapter.app import create_app
from api_adapter.asgi import open_services
from api_adapter.settings import ApiSettings
from tests.api.serving import serve

Json = dict[str, Any]

# Clients are generated from these names: one may be added, none renamed.
STABLE = {
    "listRuns": "GET /api/runs",
    "getRunStats": "GET /api/runs/stats",
    "getRun": "GET /api/runs/{id}",
    "listRunNodes": "GET /api/runs/{id}/nodes",
    "listRunLogs": "GET /api/runs/{id}/logs",
    "getRunOutput": "GET /api/runs/{id}/logs/{stream}",
    "getRunStack": "GET /api/runs/{id}/stack",
    "cancelRun": "DELETE /api/runs/{id}",
    "listPipelines": "GET /api/pipelines",
    "getPipeline": "GET /api/pipelines/{id}",
    "startRun": "POST /api/pipelines/{id}/run",
    "listPipelineRuns": "GET /api/pipelines/{id}/runs",
    "getExecutionStatus": "GET /api/pipelines/{id}/execution-status",
    "getExecutionPlan": "GET /api/pipelines/{id}/execution-plan",
    "listTriggers": "GET /api/triggers",
    "getTrigger": "GET /api/triggers/{id}",
    "enableTrigger": "POST /api/triggers/{id}/enable",
    "disableTrigger": "POST /api/triggers/{id}/disable",
    "testTrigger": "POST /api/triggers/{id}/test",
    "listTriggerExecutions": "GET /api/triggers/{id}/executions",
    "receiveWebhook": "POST /api/webhooks/trigger/{triggerId}",
    "getLiveness": "GET /livez",
    "getReadiness": "GET /readyz",
    "getMetrics": "GET /metrics",
}
OPEN = {"getLiveness", "getReadiness", "receiveWebhook"}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    nowhere = ApiSettings(postgres_url="postgresql:///none?host=/nonexistent", dagster_home="/nonexistent")
    return create_app(nowhere, open_services=open_services)


@pytest.fixture(scope="module")
def stranger(app: FastAPI) -> Iterator[httpx.Client]:
    """A caller without any credential."""
    with serve(app) as client:
        yield client


@pytest.fixture(scope="module")
def document(app: FastAPI) -> Json:
    return app.openapi()


def operations(document: Json) -> dict[str, tuple[str, Json]]:
    """Method with path, and what is said of it, by operation id."""
    found = [
        (operation["operationId"], f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len({name for name, _, _ in found}) == len(found)
    return {name: (route, operation) for name, route, operation in found}


def test_the_document_is_published_at_the_root(stranger: httpx.Client, document: Json) -> None:
    """OpenAPI 3.1 with the version of the service and both base paths, to anybody."""
    published = stranger.get("/openapi.json").json()
    assert published == document
    assert published["openapi"].startswith("3.1.")
    assert [server["url"] for server in published["servers"]] == ["/", "/v1"]
    for schema in published["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_operation_ids_are_stable(document: Json) -> None:
    """Each operation keeps its name."""
    routes = {name: route for name, (route, _) in operations(document).items()}
    assert STABLE.items() <= routes.items()


def test_every_operation_is_described(document: Json) -> None:
    """Each has a tag that is described, a summary and a description."""
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for name, (_, operation) in operations(document).items():
        assert set(operation["tags"]) <= tags, name
        assert operation["summary"], name
        assert operation["description"], name


def test_every_operation_says_what_credential_it_takes(document: Json) -> None:
    """A bearer or the key header with a scope, for all but the two that supervisors ask, and what is signed."""
    schemes = document["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("scheme"), scheme.get("name")) for scheme in schemes.values()} == {
        ("http", "bearer", None),
        ("apiKey", None, "X-Planasonix-Api-Key"),
    }
    for name, (_, operation) in operations(document).items():
        declared = operation.get("security", [])
        assert len(declared) == (0 if name in OPEN else 2), name
        assert all(scopes for way in declared for scopes in way.values()), name


def test_only_our_error_shape_is_declared(document: Json) -> None:
    """Every failure of every operation is JSON in the one shape, with an example; FastAPI's own 422 is nowhere."""
    assert not document["components"]["schemas"].keys() & {"HTTPValidationError", "ValidationError"}
    for name, (_, operation) in operations(document).items():
        answers = operation["responses"]
        assert "422" not in answers, name
        failures = [status for status in answers if not status.startswith(("2", "3"))]
        assert "default" in failures, name
        bounds = {"413"} if name in OPEN else {"413", "415"}  # what is open to all has its own, in any media type
        assert bounds <= set(failures) or "requestBody" not in operation, name
        for status in failures:
            content = answers[status]["content"]
            assert list(content) == ["application/json"], name
            assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorResponse"}
            fits(content["application/json"]["example"], content["application/json"]["schema"], document)


def test_every_body_and_answer_has_an_example_that_fits(document: Json) -> None:
    """What stands in the document as an example could be sent, and could be answered."""
    for name, (_, operation) in operations(document).items():
        contents = list(operation.get("requestBody", {}).get("content", {}).items())
        for status, answer in operation["responses"].items():
            if status.startswith("2"):
                assert answer["content"], (name, status)
                contents += answer["content"].items()
        for media_type, content in contents:
            assert content.keys() & {"example", "examples"}, (name, media_type)
            if media_type == "application/json":
                fits(content["example"], content["schema"], document)


def fits(example: Any, schema: Json, document: Json) -> None:
    Draft202012Validator({**schema, "components": document["components"]}).validate(example)


def test_every_answer_declares_the_request_id(document: Json) -> None:
    """The header is declared on all answers, and Retry-After where it is sent."""
    for name, (_, operation) in operations(document).items():
        for status, answer in operation["responses"].items():
            assert "X-Request-Id" in answer["headers"], (name, status)
            assert ("Retry-After" in answer["headers"]) >= (status in {"429", "503"}), (name, status)
    assert document["components"]["headers"].keys() == {"RequestId", "RetryAfter"}


def test_the_page_needs_nothing_from_elsewhere(stranger: httpx.Client) -> None:
    """All that the page names is served by us, at addresses relative to the page, so behind a proxy too."""
    page = stranger.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r"""(?:src|href)=["']([^"']+)|url: ['"]([^'"]+)""", page.text)
    addresses = [first or second for first, second in named]
    assert len(addresses) == 4
    for address in addresses:
        assert not urlsplit(address).netloc
        assert not address.startswith("/")
        asset = stranger.get(urljoin("/docs", address))
        assert asset.status_code == 200, address
        assert asset.headers["x-content-type-options"] == "nosniff"
    assert "http" not in page.text.replace("width=device-width", "")


def test_the_page_has_a_strict_policy(stranger: httpx.Client) -> None:
    """Scripts come from us, or are the one in the page, by its hash; nothing may be loaded from elsewhere."""
    policy = stranger.get("/docs").headers["content-security-policy"]
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert re.fullmatch(r"'self' 'sha256-[A-Za-z0-9+/]{43}='", directives["script-src"])
    assert "unsafe" not in policy
    assert directives["frame-ancestors"] == "'none'"


def test_an_asset_that_is_not_there_fails_as_all_else(stranger: httpx.Client) -> None:
    """404 in the one shape, also for what tries to leave the folder."""
    for path in ("/docs/assets/nothing.js", "/docs/assets/..%2f__init__.py", "/redoc", "/docs/"):
        answer = stranger.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
