"""The audit trail: who did what, on which thing, when, from where, with which result."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from api_adapter.records import AuditEvent, AuditFilter, Records, Scope, open_records
from api_adapter.settings import ApiSettings, JwtSettings
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from tests.api.conftest import serving
from tests.api.credentials import AUDIENCE, ISSUER, Issuer, bearer, make_key, serving_keys
from tests.api.making import make_run
from tests.api.waiting import wait_until
from tests.conftest import superuser

UNKNOWN = "run_00000000000000000000000000"


@pytest.fixture(scope="module")
def records(database_url: str) -> Iterator[Records]:
    with open_records(database_url) as records:
        yield records


def events(records: Records, key_id: str) -> list[AuditEvent]:
    """What one key did, the first first."""
    return list(reversed(records.audit.list_events(AuditFilter(actor=key_id), limit=100)))


@pytest.mark.stack
def test_a_start_is_on_record(client: httpx.Client, records: Records, database_url: str) -> None:
    """Key, action, pipeline, time, address, request id, status and the run that came of it."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_RUN, name="nightly")
    before = datetime.now(UTC)
    headers = {**bearer(secret), "X-Request-Id": "req-1"}
    run_id = client.post("/api/pipelines/pl_crm/run", headers=headers).json()["runId"]
    (event,) = events(records, key_id)
    assert before <= event.at <= datetime.now(UTC)
    assert replace(event, id=0, at=before) == AuditEvent(
        at=before,
        actor_kind="key",
        actor_id=key_id,
        actor_name="nightly",
        action="run.start",
        resource="pl_crm",
        client_address="127.0.0.1",
        request_id="req-1",
        status=202,
        detail={"runId": run_id},
    )


@pytest.mark.stack
def test_a_cancel_is_on_record_and_on_the_run(
    client: httpx.Client, records: Records, database_url: str, instance: DagsterInstance
) -> None:
    """The trail and the run say who canceled it; who comes second is on the trail only."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_RUN, name="first")
    other_id, other = make_key(database_url, Scope.PIPELINES_RUN, name="second")
    run_id = client.post("/api/pipelines/pl_slow/run", headers=bearer(secret)).json()["runId"]
    run = instance.get_run_by_id(decode_run_id(run_id))
    assert run is not None
    assert run.tags[tags.USER] == "first"
    assert client.delete(f"/api/runs/{run_id}", headers=bearer(secret)).status_code == 202
    assert client.delete(f"/api/runs/{run_id}", headers=bearer(other)).status_code == 200
    assert [(event.action, event.resource, event.status) for event in events(records, key_id)] == [
        ("run.start", "pl_slow", 202),
        ("run.cancel", run_id, 202),
    ]
    assert [(event.action, event.status) for event in events(records, other_id)] == [("run.cancel", 200)]
    run = instance.get_run_by_id(decode_run_id(run_id))
    assert run is not None
    assert (run.tags[tags.CANCEL_REQUESTED_BY], run.tags[tags.CANCELED_BY]) == ("first", "user")
    assert datetime.fromisoformat(run.tags[tags.CANCEL_REQUESTED_AT]).tzinfo is not None


@pytest.mark.stack
def test_what_was_refused_is_on_record_too(
    client: httpx.Client, records: Records, database_url: str, instance: DagsterInstance
) -> None:
    """Each attempt has its status, whichever part of the service has refused it."""
    key_id, secret = make_key(
        database_url, Scope.PIPELINES_RUN, pipelines=("pl_crm", "pl_slow", "pl_broken", "pl_none")
    )
    finished = encode_run_id(make_run(instance, status=DagsterRunStatus.SUCCESS).run_id)
    json = {"Content-Type": "application/json"}
    attempts = [
        ("DELETE", f"/api/runs/{finished}", b"", 409),
        ("DELETE", f"/api/runs/{UNKNOWN}", b"", 404),
        ("DELETE", "/v1/api/runs/a%00b", b"", 404),
        ("DELETE", f"/api/runs/{'x' * 2000}", b"", 404),
        ("POST", "/api/pipelines/pl_none/run", b"", 404),
        ("POST", "/api/pipelines/pl_bad/run", b"", 404),
        ("POST", "/api/pipelines/pl_broken/run", b"", 409),
        ("POST", "/api/pipelines/pl_crm/run", b"{", 400),
        ("POST", "/api/pipelines/pl_crm/run", b'{"variables": {"nope": 1}}', 400),
    ]
    for method, path, body, expected in attempts:
        answer = client.request(method, path, content=body, headers={**bearer(secret), **json})
        assert answer.status_code == expected, path
    found = events(records, key_id)
    assert [event.status for event in found] == [expected for *_, expected in attempts]
    assert [event.resource for event in found[:3]] == [finished, UNKNOWN, "a�b"]
    assert found[3].resource == "x" * 500


def test_a_missing_scope_is_on_record(reader: httpx.Client, records: Records, database_url: str) -> None:
    """Who tries what is not allowed is known."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_READ)
    assert reader.delete(f"/api/runs/{UNKNOWN}", headers=bearer(secret)).status_code == 403
    assert [(event.action, event.status) for event in events(records, key_id)] == [("run.cancel", 403)]


def test_reading_is_not_on_record(reader: httpx.Client, records: Records, database_url: str) -> None:
    """Neither what only reads nor what never came to a route is an action; strangers have no name to record."""
    key_id, secret = make_key(database_url, Scope.ADMIN_ORGANIZATION)
    for method, path in (("GET", "/api/runs"), ("PUT", "/api/runs"), ("DELETE", "/api/run/x"), ("GET", "/livez")):
        reader.request(method, path, headers=bearer(secret))
    assert events(records, key_id) == []


def test_the_user_of_a_token_is_on_record(reader_settings: ApiSettings, records: Records) -> None:
    """For a token it is the subject."""
    issuer = Issuer()
    with serving_keys(issuer.jwks()) as server:
        jwt = JwtSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url)
        with serving(replace(reader_settings, jwt=jwt)) as client:
            token = issuer.token(sub="grace@example.com", scope="pipelines:run")
            client.delete(f"/api/runs/{UNKNOWN}", headers=bearer(token))
    (event,) = events(records, "grace@example.com")
    assert (event.actor_kind, event.actor_name, event.status) == ("user", "grace@example.com", 404)


@pytest.mark.stack
def test_what_can_not_be_recorded_is_not_done(
    client: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """While the trail can't be written, nothing is started: 503, and no run exists."""
    headers = bearer(make_key(database_url, Scope.PIPELINES_RUN)[1])
    before = instance.get_runs_count()
    with superuser(database_url) as cursor:
        cursor.execute("ALTER TABLE planasonix.audit_events RENAME TO hidden")
        try:
            assert client.post("/api/pipelines/pl_crm/run", headers=headers).status_code == 503
        finally:
            cursor.execute("ALTER TABLE planasonix.hidden RENAME TO audit_events")
    assert instance.get_runs_count() == before
    wait_until(lambda: client.post("/api/pipelines/pl_crm/run", headers=headers).status_code == 202, seconds=10)
