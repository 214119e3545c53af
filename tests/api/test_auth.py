"""Closed to strangers: API keys, scopes, keys that are limited to some pipelines, and budgets."""

import string
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import time
from typing import Annotated, Any

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from fastapi import APIRouter, Depends, Response
from fastapi.routing import APIRoute, iter_route_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_adapter.app import create_app
from api_adapter.asgi import open_services
from api_adapter.auth import GuardedRoute, Principal, Public, Requirement, Scope, UndeclaredRouteError, public, requires
from api_adapter.auth.budgets import client_of
from api_adapter.auth.requirement import declared
from api_adapter.records import open_records
from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.conftest import admin_key, serving
from tests.api.credentials import bearer, make_key
from tests.api.making import make_run
from tests.api.serving import serve
from tests.api.waiting import wait_until
from tests.conftest import superuser

RUN = "run_00000000000000000000000000"
CLOSED = [
    ("GET", "/api/runs"),
    ("GET", "/v1/api/runs"),
    ("GET", f"/api/runs/{RUN}"),
    ("GET", f"/api/runs/{RUN}/nodes"),
    ("GET", f"/api/runs/{RUN}/logs"),
    ("GET", "/api/pipelines"),
    ("GET", "/api/pipelines/pl_crm"),
    ("GET", "/api/pipelines/pl_crm/runs"),
    ("POST", "/api/pipelines/pl_crm/run"),
    ("POST", "/v1/api/pipelines/pl_crm/run"),
    ("DELETE", f"/api/runs/{RUN}"),
    ("DELETE", f"/v1/api/runs/{RUN}"),
]
OPEN_PATHS = {"/livez", "/readyz", "/openapi.json"}
SIGNED_PATHS = {"/api/webhooks/trigger/{triggerId}"}  # open to all, but it wants a signature


@pytest.fixture(scope="module")
def stranger(reader: httpx.Client) -> Iterator[httpx.Client]:
    """A client without any credential."""
    with httpx.Client(base_url=reader.base_url, timeout=30, trust_env=False) as client:
        yield client


def refused(answer: httpx.Response) -> bool:
    """Whether the answer is the documented 401, without a word of what was sent."""
    assert "plnx_" not in answer.text
    assert "x-ratelimit-limit" not in answer.headers
    error = answer.json()["error"]
    return (
        answer.status_code == 401
        and error["code"] == "unauthorized"
        and answer.headers["www-authenticate"].startswith("Bearer")
    )


def test_every_route_declares_whom_it_takes(settings_without_server: ApiSettings) -> None:
    """Each route demands one scope or says that it is public; none is without."""
    app = create_app(settings_without_server, open_services=open_services)
    public_paths = set()
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        assert context.path is not None
        if not isinstance(route, APIRoute):  # FastAPI's own documentation of the routes
            assert context.path.startswith(("/openapi.json", "/docs", "/redoc")), context.path
            continue
        assert isinstance(route, GuardedRoute), context.path
        declaration = declared(route.dependant, path=context.path)
        if isinstance(declaration, Public):
            public_paths.add(context.path)
        else:
            assert isinstance(declaration, Requirement)
            changes = context.methods != {"GET"}
            read, act = (Scope.PIPELINES_READ, Scope.PIPELINES_RUN)
            if context.path.startswith(("/api/schedules", "/api/triggers")):
                read, act = (Scope.SCHEDULES_READ, Scope.SCHEDULES_WRITE)
            if context.path.startswith("/api/webhooks"):
                act = Scope.PIPELINES_WRITE
            assert declaration.scope is (act if changes else read), context.path
            assert (declaration.action is not None) == changes, context.path
    assert public_paths - OPEN_PATHS - SIGNED_PATHS <= {path for path in public_paths if path.startswith("/docs")}


@pytest.fixture
def settings_without_server(reader_settings: ApiSettings) -> ApiSettings:
    return reader_settings


@pytest.mark.parametrize("dependencies", [[], [public(), requires(Scope.PIPELINES_READ)]])
def test_a_route_that_declares_nothing_can_not_be_defined(dependencies: list[Any]) -> None:
    """A route without a declaration, or with two, fails where it is written."""
    router = APIRouter(route_class=GuardedRoute)
    with pytest.raises(UndeclaredRouteError, match="/here"):
        router.get("/here", dependencies=dependencies)(lambda: None)


def test_a_plain_endpoint_wants_nothing_that_only_fastapi_has() -> None:
    """It is called past FastAPI: a dependency of another kind, or an answer to be written, fails where it stands."""
    router = APIRouter(route_class=GuardedRoute)

    def get_moon(moon: Annotated[str, Depends(lambda: "full")]) -> Response:
        return Response(moon)

    def get_model() -> dict[str, str]:
        return {}

    for endpoint, told in ((get_moon, "must be a `Dependency`"), (get_model, "must return a `Response`")):
        with pytest.raises(TypeError, match=told):
            router.get("/here", dependencies=[public()])(endpoint)


def test_however_a_route_declares_it_nobody_comes_in(settings_without_server: ApiSettings) -> None:
    """A demand among the route's dependencies holds as one among the endpoint's parameters does."""
    router = APIRouter(route_class=GuardedRoute)

    @router.get("/plain", dependencies=[requires(Scope.PIPELINES_READ)])
    def get_plain() -> Response:
        pytest.fail("a stranger came in")

    @router.get("/coroutine", dependencies=[requires(Scope.PIPELINES_READ)])
    async def get_coroutine() -> None:
        pytest.fail("a stranger came in")

    @router.get("/parameter")
    def get_parameter(principal: Annotated[Principal, requires(Scope.PIPELINES_READ)]) -> Response:
        pytest.fail(f"{principal} came in")

    app = create_app(settings_without_server, open_services=open_services)
    app.include_router(router, prefix="/also")
    with serve(app) as client:
        for path in ("plain", "coroutine", "parameter"):
            assert refused(client.get(f"/also/{path}"))


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_nobody_comes_in_without_a_credential(method: str, path: str, stranger: httpx.Client) -> None:
    """Without a credential every route below /api answers 401, also from the same machine."""
    assert refused(stranger.request(method, path))


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_what_is_public_needs_no_credential(path: str, stranger: httpx.Client) -> None:
    """Health and the description of the API are open, also to those who send a wrong credential."""
    for headers in ({}, bearer("wrong")):
        answer = stranger.get(path, headers=headers)
        assert answer.status_code in {200, 503}
        assert "x-ratelimit-limit" not in answer.headers


@pytest.mark.parametrize("body", [b"{", b"\xff" * 10_000])
def test_a_stranger_is_refused_before_the_body_is_looked_at(body: bytes, stranger: httpx.Client) -> None:
    """A body that is wrong changes nothing about the 401."""
    headers = {"Content-Type": "application/json"}
    assert refused(stranger.post("/api/pipelines/pl_crm/run", content=body, headers=headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Bearer plnx_live_"},
        {"Authorization": f"Bearer plnx_live_{'A' * 43}"},
        {"Authorization": f"Bearer plnx_test_{'A' * 43}"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": f"Bearer {'A' * 10_000}"},
        {"X-Planasonix-Api-Key": ""},
        {"X-Planasonix-Api-Key": "x"},
        {"X-Planasonix-Api-Key": b"\xff\xfe\x80"},
        {"Cookie": "session=x"},
    ],
)
def test_what_is_no_credential_is_refused(headers: dict[str, Any], stranger: httpx.Client) -> None:
    """Malformed, unknown and foreign credentials all give 401."""
    assert refused(stranger.get("/api/runs", headers=headers))


def test_both_headers_carry_a_key(database_url: str, stranger: httpx.Client) -> None:
    """A key is accepted as Bearer, in whatever case, and in the older header; in both only if they agree."""
    _, secret = make_key(database_url, Scope.PIPELINES_READ)
    _, other = make_key(database_url, Scope.PIPELINES_READ)
    older = {"X-Planasonix-Api-Key": secret}
    for headers in (bearer(secret), {"authorization": f"bEARER   {secret}"}, older, {**bearer(secret), **older}):
        assert stranger.get("/api/runs", headers=headers).status_code == 200
    assert refused(stranger.get("/api/runs", headers={**bearer(other), **older}))
    assert refused(stranger.get("/api/runs", params={"api_key": secret, "access_token": secret}))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tampered_key_never_passes(data: st.DataObject, stranger: httpx.Client, database_url: str) -> None:
    """Whatever is changed in a key, wherever, it is another key, and there is none such."""
    secret = admin_key(database_url)
    place = data.draw(st.integers(0, len(secret)))
    kind = data.draw(st.sampled_from(["replace", "insert", "delete", "swap case", "cut"]))
    character = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_=.+/"))
    tampered = {
        "replace": secret[:place] + character + secret[place + 1 :],
        "insert": secret[:place] + character + secret[place:],
        "delete": secret[:place] + secret[place + 1 :],
        "swap case": secret[:place] + secret[place:].swapcase(),
        "cut": secret[:place],
    }[kind]
    answer = stranger.get("/api/runs", headers={"X-Planasonix-Api-Key": tampered})
    assert answer.status_code == 200 if tampered == secret else refused(answer)


def test_an_expired_key_is_refused(database_url: str, stranger: httpx.Client) -> None:
    """From the moment of its expiry on, a key is as good as none."""
    now = datetime.now(UTC)
    _, expired = make_key(database_url, Scope.PIPELINES_READ, expires_at=now - timedelta(seconds=1))
    _, lasting = make_key(database_url, Scope.PIPELINES_READ, expires_at=now + timedelta(hours=1))
    assert refused(stranger.get("/api/runs", headers=bearer(expired)))
    assert stranger.get("/api/runs", headers=bearer(lasting)).status_code == 200


def test_revocation_holds_at_once_in_every_process(reader_settings: ApiSettings) -> None:
    """Of two services over one database, both refuse the very next request."""
    key_id, secret = make_key(reader_settings.postgres_url, Scope.PIPELINES_READ)
    with ExitStack() as stack:
        clients = [stack.enter_context(serving(reader_settings)) for _ in range(2)]
        for _ in range(3):
            assert [client.get("/api/runs", headers=bearer(secret)).status_code for client in clients] == [200, 200]
        with open_records(reader_settings.postgres_url) as records:
            records.keys.revoke(key_id, at=datetime.now(UTC))
        assert [client.get("/api/runs", headers=bearer(secret)).status_code for client in clients] == [401, 401]


def test_after_a_rotation_both_secrets_are_good_for_the_time_of_grace(
    database_url: str, stranger: httpx.Client
) -> None:
    """The former secret works until its grace ends; a rotation without grace ends it at once."""
    key_id, first = make_key(database_url, Scope.PIPELINES_READ)

    def statuses(*secrets: str) -> list[int]:
        return [stranger.get("/api/runs", headers=bearer(secret)).status_code for secret in secrets]

    with open_records(database_url) as records:
        _, second = records.keys.rotate(key_id, grace=timedelta(hours=1), at=datetime.now(UTC)) or (None, "")
        assert statuses(first, second) == [200, 200]
        _, third = records.keys.rotate(key_id, at=datetime.now(UTC)) or (None, "")
        assert statuses(first, second, third) == [401, 401, 200]
        earlier = datetime.now(UTC) - timedelta(hours=2)
        _, fourth = records.keys.rotate(key_id, grace=timedelta(hours=1), at=earlier) or (None, "")
        assert statuses(third, fourth) == [401, 200]


def test_the_last_use_of_a_key_is_noted(database_url: str, stranger: httpx.Client) -> None:
    """A use is written behind the request's back."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_READ)
    before = datetime.now(UTC)
    stranger.get("/api/runs", headers=bearer(secret))
    with open_records(database_url) as records:

        def noted() -> bool:
            (key,) = [key for key in records.keys.list_all() if key.id == key_id]
            return key.last_used_at is not None and key.last_used_at >= before

        wait_until(noted, seconds=10)


@pytest.mark.parametrize(
    ("scopes", "may_read", "may_run"),
    [
        ([Scope.PIPELINES_READ], True, False),
        ([Scope.PIPELINES_RUN], False, True),
        ([Scope.PIPELINES_READ, Scope.PIPELINES_RUN], True, True),
        ([Scope.ADMIN_ORGANIZATION], True, True),
        ([Scope.PIPELINES_WRITE, Scope.SCHEDULES_READ, Scope.SCHEDULES_WRITE], False, False),
        ([], False, False),
    ],
)
def test_scopes_decide(
    scopes: list[Scope], *, may_read: bool, may_run: bool, database_url: str, stranger: httpx.Client
) -> None:
    """Reading needs pipelines:read, starting and canceling pipelines:run; admin:organization stands for all."""
    headers = bearer(make_key(database_url, *scopes)[1])
    for method, path in CLOSED:
        answer = stranger.request(method, path, headers=headers)
        allowed = may_read if method == "GET" else may_run
        assert (answer.status_code != 403) == allowed, (method, path)
        assert "x-ratelimit-remaining" in answer.headers
        if not allowed:
            missing = "pipelines:read" if method == "GET" else "pipelines:run"
            assert answer.json()["error"]["code"] == "forbidden"
            assert missing in answer.json()["error"]["message"]
            assert f'scope="{missing}"' in answer.headers["www-authenticate"]


def test_the_openapi_says_which_credential_and_scope_a_route_needs(reader: httpx.Client) -> None:
    """Both ways to send a credential are declared, with the scope; public routes declare none."""
    document = reader.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["apiKey"]["name"] == "X-Planasonix-Api-Key"
    assert document["paths"]["/api/runs/{id}"]["delete"]["security"] == [
        {"bearer": ["pipelines:run"]},
        {"apiKey": ["pipelines:run"]},
    ]
    assert "security" not in document["paths"]["/livez"]["get"]


@pytest.fixture(scope="module")
def runs_of_two(instance: DagsterInstance) -> dict[str, str]:
    """A finished run of each of two pipelines."""
    return {
        pipeline_id: encode_run_id(
            make_run(instance, status=DagsterRunStatus.SUCCESS, tags={"planasonix/pipeline_id": pipeline_id}).run_id
        )
        for pipeline_id in ("pl_crm", "pl_slow")
    }


@pytest.fixture
def limited(client: httpx.Client, database_url: str) -> Iterator[httpx.Client]:
    """A client whose key may do everything with one pipeline, and with one that is gone."""
    secret = make_key(database_url, Scope.ADMIN_ORGANIZATION, pipelines=("pl_crm", "pl_gone"))[1]
    with httpx.Client(base_url=client.base_url, headers=bearer(secret), timeout=30, trust_env=False) as limited:
        yield limited


@pytest.mark.stack
def test_lists_hold_only_what_a_limited_key_sees(limited: httpx.Client, runs_of_two: dict[str, str]) -> None:
    """Runs, pipelines, problems and statistics of other pipelines are in no list."""
    runs = limited.get("/api/runs?limit=500").json()["data"]
    assert {run["pipelineId"] for run in runs} == {"pl_crm"}
    assert runs_of_two["pl_crm"] in {run["id"] for run in runs}
    assert limited.get("/api/runs", params={"pipelineId": "pl_slow"}).json()["data"] == []
    listed = limited.get("/api/pipelines").json()
    assert [pipeline["id"] for pipeline in listed["data"]] == ["pl_crm"]
    assert listed["meta"] == {"total": 1, "problems": []}

    def stats(**query: str) -> Any:
        return limited.get("/api/runs/stats", params={"from": "2020-01-01", **query}).json()

    assert stats()["total"] > 0
    assert stats() == stats(pipelineId="pl_crm")
    assert stats(pipelineId="pl_slow") == stats(pipelineId="pl_none")


@pytest.mark.stack
def test_what_a_limited_key_may_not_see_answers_as_what_does_not_exist(
    limited: httpx.Client, reader: httpx.Client, runs_of_two: dict[str, str]
) -> None:
    """On every route, to the letter, whether it exists, is broken, or was never there."""
    paths = reader.get("/openapi.json").json()["paths"]
    routes = [
        (method, path, one)
        for path, methods in paths.items()
        for method, one in methods.items()
        if "{id}" in path and not path.startswith("/api/webhooks/endpoints")  # which such a key may not see at all
    ]
    assert len(routes) >= 10
    things = {
        "runs": (RUN, [runs_of_two["pl_slow"]]),
        "schedules": ("sch_none", ["sch_branches"]),
        "triggers": ("trg_none", ["trg_files"]),
    }
    for method, template, operation in routes:
        missing, hidden_ones = things.get(template.split("/")[2], ("pl_none", ["pl_slow", "pl_broken"]))
        body = operation.get("requestBody", {})
        example = body["content"]["application/json"]["example"] if body.get("required") else None
        for hidden in hidden_ones:
            answers = []
            for resource in (hidden, missing):
                path = template.format(id=resource, stream="stdout")
                answer = limited.request(method, path, json=example)
                told = answer.text.replace(answer.headers["x-request-id"], "").replace(resource, "")
                answers.append((answer.status_code, told))
            assert answers[0] == answers[1], (method, template)
            assert answers[0][0] == 404 or template == "/api/pipelines/{id}/runs", (method, template, answers)


@pytest.mark.stack
def test_a_limited_key_sees_its_own(limited: httpx.Client, runs_of_two: dict[str, str]) -> None:
    """Its own pipeline and runs are there as for everybody."""
    for path in ("", "/nodes", "/logs"):
        assert limited.get(f"/api/runs/{runs_of_two['pl_crm']}{path}").status_code == 200
    assert limited.get("/api/pipelines/pl_crm").status_code == 200
    assert limited.delete(f"/api/runs/{runs_of_two['pl_crm']}").status_code == 409
    run_id = limited.post("/api/pipelines/pl_crm/run").json()["runId"]
    assert limited.delete(f"/api/runs/{run_id}").status_code == 202


@pytest.fixture
def thrifty(reader_settings: ApiSettings) -> Iterator[httpx.Client]:
    """An API with small budgets."""
    settings = replace(reader_settings, rate_limit="5/hour", failed_login_limit="3/hour")
    with serving(settings) as client:
        yield client


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::"),
        ("unknown", "unknown"),
    ],
)
def test_a_client_is_what_it_can_not_change_at_will(address: str, client: str) -> None:
    """An IPv4 address also where the socket is for both families; of an IPv6 address the network."""
    assert client_of(address) == client


def test_a_budget_is_told_and_kept(thrifty: httpx.Client, database_url: str) -> None:
    """Each answer says what is left; beyond it there is 429 with Retry-After; another key has its own."""
    key = bearer(make_key(database_url, Scope.PIPELINES_READ)[1])
    paths = ["/api/runs", f"/api/runs/{RUN}", "/api/runs?limit=x", "/api/pipelines", "/api/runs"]
    answers = [thrifty.get(path, headers=key) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 404, 400, 503, 200]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["4", "3", "2", "1", "0"]
    assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"5"}
    beyond = thrifty.get("/api/runs", headers=key)
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (429, "rate_limited")
    assert beyond.headers["x-ratelimit-remaining"] == "0"
    reset = int(beyond.headers["x-ratelimit-reset"])
    assert time() < reset <= time() + 3601
    assert abs(time() + int(beyond.headers["retry-after"]) - reset) <= 2
    assert thrifty.get("/api/runs").status_code == 200
    assert thrifty.get("/livez", headers=key).status_code == 200


def test_wrong_credentials_are_slowed_and_right_ones_never(thrifty: httpx.Client) -> None:
    """After some failures a client's further failures give 429; a valid key passes, and so does sending nothing."""
    statuses = [thrifty.get("/api/runs", headers=bearer(f"wrong{number}")).status_code for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    refusal = thrifty.get("/api/runs", headers=bearer("wrong"))
    assert refusal.json()["error"]["code"] == "rate_limited"
    assert 0 < int(refusal.headers["retry-after"]) <= 3600
    assert thrifty.get("/api/runs").status_code == 200
    del thrifty.headers["Authorization"]
    assert thrifty.get("/api/runs").status_code == 401


def test_a_lost_database_lets_nobody_in(tmp_path: Any, postgres_url: str) -> None:
    """Without the table of keys there is no entrance, but 503, and the door opens again with the database's return."""
    settings = ApiSettings(postgres_url=postgres_url, dagster_home=str(tmp_path), code_server_port=1)
    key = admin_key(postgres_url)
    with serve(create_app(settings, open_services=open_services), key=key) as client, superuser(postgres_url) as cursor:
        assert client.get(f"/api/pipelines/{RUN}").status_code == 503
        assert client.get(f"/api/pipelines/{RUN}").headers["x-ratelimit-limit"]
        cursor.execute("ALTER TABLE planasonix.api_keys RENAME TO hidden")
        assert "x-ratelimit-limit" not in client.get(f"/api/pipelines/{RUN}").headers
        cursor.execute("ALTER TABLE planasonix.hidden RENAME TO api_keys")
        assert client.get(f"/api/pipelines/{RUN}").headers["x-ratelimit-limit"]
