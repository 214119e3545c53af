"""The triggers resource: lists, switches, tests and executions."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from api_adapter.control.code_location import DagsterConnection
from api_adapter.pagination import encode_cursor
from api_adapter.records import AuditFilter, Scope, open_records
from api_adapter.settings import ApiSettings
from api_adapter.storage import Storage
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from tests.api import served
from tests.api.calling import SECRET, call, signed
from tests.api.credentials import bearer, make_key
from tests.api.making import make_run
from tests.conftest import superuser

ALL = ["trg_bare", "trg_dash-ed", "trg_files", "trg_keyless", "trg_orders", "trg_raw", "trg_shop", "trg_test"]


@pytest.fixture(autouse=True, scope="module")
def _secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(served.WEBHOOK_SECRET, SECRET)
        yield


def listed(client: httpx.Client, **query: Any) -> list[str]:
    answer = client.get("/api/triggers", params=query).raise_for_status().json()
    assert answer["meta"]["page"]["cursor"] is None
    return [trigger["id"] for trigger in answer["data"]]


def attributes(client: httpx.Client, path: str, **query: Any) -> Any:
    data = client.get(path, params=query).raise_for_status().json()["data"]
    return [one["attributes"] for one in data] if isinstance(data, list) else data["attributes"]


def execution_of(instance: DagsterInstance, trigger_id: str, **more: Any) -> str:
    """The API's id of a run that a trigger has started, as the record has it."""
    told = {tags.TRIGGER: "webhook", tags.TRIGGER_ID: trigger_id, **more.pop("tags", {})}
    status = more.pop("status", DagsterRunStatus.SUCCESS)
    return encode_run_id(make_run(instance, status=status, tags=told).run_id)


def test_a_trigger_is_told_as_documented(client: httpx.Client) -> None:
    """The product's own shape; the config as in the document, with the name of the secret's variable."""
    assert client.get("/api/triggers/trg_orders").json() == {
        "data": {
            "id": "trg_orders",
            "type": "trigger",
            "attributes": {
                "name": "Orders of the shop",
                "trigger_type": "webhook",
                "pipeline_id": "pl_hooked",
                "enabled": True,
                "config": served.TRIGGERS["hooked"][3]["config"],
                "created_at": "2025-02-01T09:00:00Z",
                "updated_at": "2025-03-01T00:00:00Z",
            },
        }
    }


def test_triggers_are_listed(client: httpx.Client) -> None:
    """By id, all or of some kind; with the page's limit and cursor."""
    answer = client.get("/api/triggers").json()
    assert answer["meta"] == {"page": {"limit": 50, "cursor": None}}
    assert [trigger["id"] for trigger in answer["data"]] == ALL
    assert listed(client, pipeline_id="pl_slow") == listed(client, trigger_type="file_watcher") == ["trg_files"]
    assert listed(client, enabled="false") == ["trg_dash-ed"]
    assert listed(client, enabled="true", trigger_type="webhook") == [
        one for one in ALL if one not in {"trg_dash-ed", "trg_files"}
    ]
    assert listed(client, pipeline_id="pl_nowhere") == []
    assert client.get("/api/triggers", params={"trigger_type": "sms"}).status_code == 400


@pytest.mark.parametrize("query", [{}, {"enabled": "true"}, {"trigger_type": "webhook"}])
def test_pages_of_triggers_hold_each_once(query: dict[str, str], client: httpx.Client) -> None:
    """Whatever the limit; a cursor of another list is refused."""
    whole = listed(client, **query)
    for limit in (1, 2, len(whole)):
        found: list[str] = []
        cursor = None
        while True:
            given: dict[str, Any] = {**query, "limit": limit, **({"cursor": cursor} if cursor else {})}
            page = client.get("/api/triggers", params=given).json()
            found += [trigger["id"] for trigger in page["data"]]
            assert len(page["data"]) <= limit
            cursor = page["meta"]["page"]["cursor"]
            if cursor is None:
                break
            foreign = client.get("/api/triggers", params={"cursor": cursor, "pipeline_id": "pl_other"})
            assert foreign.json()["error"]["details"][0]["field"] == "cursor"
        assert found == whole


def test_a_switch_is_dagsters_own(client: httpx.Client, settings: ApiSettings) -> None:
    """What the API switches is on or off in Dagster, and the other way round; asking again changes nothing."""
    connection = DagsterConnection(settings)
    try:
        for on, word in ((True, "enable"), (True, "enable"), (False, "disable"), (False, "disable")):
            answer = client.post(f"/api/triggers/trg_dash-ed/{word}").raise_for_status().json()
            assert answer == client.get("/api/triggers/trg_dash-ed").json()
            assert answer["data"]["attributes"]["enabled"] is on
            sensor = connection.loaded().repository.get_sensor("trg_dash_x2d_ed")
            instance = connection.instance()
            state = instance.get_instigator_state(sensor.get_remote_origin_id(), sensor.selector_id)
            assert state is not None
            assert state.is_running is on
        connection.instance().start_sensor(sensor)
        assert attributes(client, "/api/triggers/trg_dash-ed")["enabled"] is True
        connection.instance().stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
        assert listed(client, enabled="false") == ["trg_dash-ed"]
    finally:
        connection.close()


def test_what_is_done_to_triggers_is_on_the_trail(client: httpx.Client, database_url: str) -> None:
    """Who enabled, disabled and tested which, and what was refused."""
    key_id, secret = make_key(database_url, Scope.SCHEDULES_WRITE)
    reader_id, reader = make_key(database_url, Scope.SCHEDULES_READ)
    for word in ("enable", "test"):
        assert client.post(f"/api/triggers/trg_bare/{word}", headers=bearer(secret)).status_code == 200
    assert client.post("/api/triggers/trg_none/disable", headers=bearer(secret)).status_code == 404
    assert client.post("/api/triggers/trg_bare/disable", headers=bearer(reader)).status_code == 403
    with open_records(database_url) as records:
        told = {
            (event.actor_id, event.action, event.resource, event.status)
            for event in records.audit.list_events(AuditFilter(action="trigger"), limit=100)
        }
    assert told >= {
        (key_id, "trigger.enable", "trg_bare", 200),
        (key_id, "trigger.test", "trg_bare", 200),
        (key_id, "trigger.disable", "trg_none", 404),
        (reader_id, "trigger.disable", "trg_bare", 403),
    }
    assert attributes(client, "/api/triggers/trg_bare")["enabled"] is True


def test_a_limited_key_sees_its_own(client: httpx.Client, database_url: str) -> None:
    """Triggers of other pipelines are not there for it: no list, no switch, no test, no executions."""
    _, secret = make_key(database_url, Scope.SCHEDULES_READ, Scope.SCHEDULES_WRITE, pipelines=("pl_slow",))
    with httpx.Client(base_url=client.base_url, headers=bearer(secret), trust_env=False) as limited:
        assert listed(limited) == ["trg_files"]
        assert listed(limited, pipeline_id="pl_hooked") == []
        assert limited.get("/api/triggers/trg_files").status_code == 200
        for path in ("/api/triggers/trg_bare", "/api/triggers/trg_bare/executions"):
            assert limited.get(path).json()["error"]["code"] == "trigger_not_found"
        for word in ("enable", "disable", "test"):
            assert limited.post(f"/api/triggers/trg_bare/{word}").status_code == 404


def test_triggers_have_scopes_of_their_own(client: httpx.Client, database_url: str) -> None:
    """Those of schedules; the ones for pipelines are not enough."""
    _, secret = make_key(database_url, Scope.PIPELINES_READ, Scope.PIPELINES_RUN, Scope.PIPELINES_WRITE)
    assert client.get("/api/triggers", headers=bearer(secret)).status_code == 403
    assert client.post("/api/triggers/trg_bare/enable", headers=bearer(secret)).status_code == 403


# Executions


def test_executions_are_the_runs_of_a_trigger(client: httpx.Client, instance: DagsterInstance) -> None:
    """Newest first, with the run, how it went and what was seen; without those that were started again."""
    first = call(
        client, "trg_orders", {"id": uuid4().hex, "order": {"number": 1, "lines": [{"amount": 1}], "urgent": 0}}
    )
    assert first.status_code == 400  # so that nothing is there of it
    body = json.dumps({"nonce": uuid4().hex}).encode()
    run_id = call(client, "trg_bare", body).json()["pipeline_run_id"]
    execution_of(instance, "trg_bare", tags={"dagster/parent_run_id": decode_run_id(run_id)})
    newest, *_ = client.get("/api/triggers/trg_bare/executions").json()["data"]
    queued_at = client.get(f"/api/runs/{run_id}").json()["queuedAt"]
    assert newest == {
        "id": f"tex_{run_id.removeprefix('run_')}",
        "type": "trigger_execution",
        "attributes": {
            "trigger_id": "trg_bare",
            "pipeline_run_id": run_id,
            "status": "queued",
            "event_summary": f"{len(body)} bytes from 127.0.0.1",
            "started_at": queued_at,
            "finished_at": None,
        },
    }


def test_executions_come_in_pages(client: httpx.Client, instance: DagsterInstance) -> None:
    """25 unless a limit is said; by status; each once, also while new ones come."""
    ids = [execution_of(instance, "trg_files") for _ in range(30)][::-1]
    failed = execution_of(instance, "trg_files", status=DagsterRunStatus.FAILURE)
    path = "/api/triggers/trg_files/executions"
    first = client.get(path).json()
    assert first["meta"]["page"]["limit"] == 25
    assert [one["attributes"]["pipeline_run_id"] for one in first["data"]] == [failed, *ids[:24]]
    execution_of(instance, "trg_files")
    second = client.get(path, params={"cursor": first["meta"]["page"]["cursor"]}).json()
    assert [one["attributes"]["pipeline_run_id"] for one in second["data"]] == ids[24:]
    assert second["meta"]["page"]["cursor"] is None
    assert [one["pipeline_run_id"] for one in attributes(client, path, status="failed")] == [failed]
    assert attributes(client, path, status="canceled") == []
    assert client.get(path, params={"status": "broken"}).status_code == 400
    other = client.get("/api/triggers/trg_raw/executions", params={"cursor": first["meta"]["page"]["cursor"]})
    assert other.status_code == 400


def test_long_histories_are_read_to_their_end(storage: Storage, instance: DagsterInstance, database_url: str) -> None:
    """What few of many executions have in common is found, however far back; pages hold each once."""
    trigger_id = f"trg_{uuid4().hex}"
    first = execution_of(instance, trigger_id, status=DagsterRunStatus.FAILURE)
    with superuser(database_url) as cursor:
        cursor.execute(
            """
            WITH made AS (
                INSERT INTO runs (run_id, pipeline_name, status, run_body, create_timestamp, update_timestamp)
                SELECT gen_random_uuid()::text, 'slow', 'SUCCESS', '{}', now(), now() FROM generate_series(1, 1500)
                RETURNING run_id
            )
            INSERT INTO run_tags (run_id, key, value) SELECT run_id, %s, %s FROM made
            """,
            (tags.TRIGGER_ID, trigger_id),
        )
    last = execution_of(instance, trigger_id, status=DagsterRunStatus.FAILURE)
    found = storage.list_executions(trigger_id, status="failed", limit=10)
    assert [one.run_id for one in found] == [last, first]
    assert storage.list_executions(trigger_id, status="canceled", limit=10) == []
    seen: list[str] = []
    below = None
    while page := storage.list_executions(trigger_id, status=None, limit=400, below=below):
        seen += [one.run_id for one in page]
        below = page[-1].position
    assert len(seen) == len(set(seen)) == 1502
    assert (seen[0], seen[-1]) == (last, first)


# Tests


def checks(client: httpx.Client, trigger_id: str, **request: Any) -> dict[str, tuple[bool, str]]:
    answer = client.post(f"/api/triggers/{trigger_id}/test", json=request).raise_for_status().json()["data"]
    assert (answer["id"], answer["type"]) == (trigger_id, "trigger_test")
    told = {one["name"]: (one["ok"], one["message"]) for one in answer["attributes"]["checks"]}
    assert answer["attributes"]["ok"] is all(ok for ok, _ in told.values())
    return told


def test_a_test_of_a_webhook_looks_at_its_secret(client: httpx.Client) -> None:
    """Whether it is there, by the name of its variable, and whether there is room for a run."""
    told = checks(client, "trg_bare")
    assert {name: ok for name, (ok, _) in told.items()} == dict.fromkeys(["sensor", "switch", "secret", "queue"], True)
    assert SECRET not in str(told)
    told = checks(client, "trg_keyless", headers=signed(b""))
    assert not told["secret"][0]
    assert "TESTS_WEBHOOK_SECRET_THAT_NOBODY_SETS is not set" in told["secret"][1]
    assert "signature" not in told
    assert checks(client, "trg_dash-ed")["switch"] == (False, "It is disabled, and starts nothing.")


def test_a_test_of_a_webhook_tries_a_call(client: httpx.Client) -> None:
    """Its signature, and what the body gives; nothing is started, and the call can be made for real afterwards."""
    body = '{"id": "evt_%s", "order": {"number": 5, "lines": [{"amount": 2}], "urgent": true, "due": "2025-03-31"}}'
    body = body % uuid4().hex
    before = client.get("/api/triggers/trg_orders/executions").json()
    headers = signed(body.encode())
    for _ in range(2):
        told = checks(client, "trg_orders", headers={name.lower(): one for name, one in headers.items()}, body=body)
        assert told["signature"][0]
        assert "evt_" in told["payload"][1]
        assert "amount, due, order, shop, urgent" in told["payload"][1]
    assert client.get("/api/triggers/trg_orders/executions").json() == before
    assert call(client, "trg_orders", body.encode(), **headers).status_code == 200
    assert not checks(client, "trg_orders", headers=headers, body=body + " ")["signature"][0]
    expired = checks(client, "trg_orders", headers=signed(b"", ahead=-400))["signature"]
    assert expired[1].startswith("signature expired")
    ok, message = checks(client, "trg_orders", body='{"id": "a", "order": {"number": 5}}')["payload"]
    assert not ok
    assert "variables.amount: order.lines[0].amount is missing from the body" in message
    assert checks(client, "trg_orders", body="{")["payload"] == (False, "body: is not valid JSON")
    assert client.post("/api/triggers/trg_orders/test", json={"heders": {}}).status_code == 400


class Ticks:
    """Evaluations of a trigger, as Dagster's daemon would write them down."""

    def __init__(self, instance: DagsterInstance, settings: ApiSettings, *, name: str) -> None:
        connection = DagsterConnection(settings)
        self._sensor = connection.loaded().repository.get_sensor(name)
        connection.close()
        self._instance = instance

    def add(self, status: TickStatus, **more: Any) -> None:
        origin, selector = self._sensor.get_remote_origin_id(), self._sensor.selector_id
        now = datetime.now(UTC).timestamp()
        told = TickData(
            origin,
            self._sensor.name,
            InstigatorType.SENSOR,
            status,
            now,
            selector_id=selector,
            end_timestamp=now,
            **more,
        )
        self._instance.create_tick(told)

    def fail(self, reason: str) -> None:
        """As Dagster wraps what a sensor raises."""
        cause = SerializableErrorInfo(f"OSError: {reason}\n", [], "OSError")
        self.add(TickStatus.FAILURE, error=SerializableErrorInfo("Error occurred\n", [], "Wrapped", cause))


def test_a_test_of_what_the_daemon_evaluates_tells_its_last_word(
    client: httpx.Client, instance: DagsterInstance, settings: ApiSettings
) -> None:
    """How the last evaluation went, and why; without another one."""
    instance.add_daemon_heartbeat(DaemonHeartbeat(datetime.now(UTC).timestamp(), "SCHEDULER", "1", errors=[]))
    ticks = Ticks(instance, settings, name="trg_files")
    told = checks(client, "trg_files")
    assert told["daemon"] == (True, "It runs.")
    assert told["evaluation"] == (True, "It was not evaluated yet.")
    ticks.add(TickStatus.SKIPPED, skip_reason="no new files")
    ok, message = checks(client, "trg_files")["evaluation"]
    assert ok
    assert message.endswith("skipped: no new files")
    ticks.add(TickStatus.SUCCESS, run_ids=["a", "b"])
    assert checks(client, "trg_files")["evaluation"][1].endswith("started 2 runs.")
    ticks.fail("the folder is gone")
    ok, message = checks(client, "trg_files")["evaluation"]
    assert not ok
    assert message.endswith("failed: OSError: the folder is gone")


def test_failed_evaluations_stand_between_the_runs(
    client: httpx.Client, instance: DagsterInstance, settings: ApiSettings
) -> None:
    """In the order of time, without a run and with the reason; pages hold each once."""
    ticks = Ticks(instance, settings, name="trg_test")
    path = "/api/triggers/trg_test/executions"
    made: list[str | None] = []
    for number in range(9):
        if number % 3 == 1:
            ticks.fail(f"gone {number}")
            made.append(None)
        else:
            ticks.add(TickStatus.SKIPPED, skip_reason="nothing new")
            made.append(execution_of(instance, "trg_test"))
    newest, failure, *_ = client.get(path, params={"limit": 9}).json()["data"]
    assert newest["attributes"]["pipeline_run_id"] == made[-1]
    assert failure["id"].startswith("tex_eval_")
    assert failure["attributes"] == {
        "trigger_id": "trg_test",
        "pipeline_run_id": None,
        "status": "failed",
        "event_summary": "OSError: gone 7",
        "started_at": failure["attributes"]["finished_at"],
        "finished_at": failure["attributes"]["finished_at"],
    }
    seen: list[dict[str, Any]] = []
    cursor = None
    while len(seen) < 9:
        page = client.get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += page["data"]
        cursor = page["meta"]["page"]["cursor"]
    assert [one["attributes"]["pipeline_run_id"] for one in seen[:9]] == made[::-1]
    assert len({one["id"] for one in seen}) == len(seen)
    for forged in ("x", "1", "9" * 19 + ",", ",-1", "1,2,3"):
        cursor = encode_cursor(forged, scope=("executions", "trg_test", None))
        assert client.get(path, params={"cursor": cursor}).json()["error"]["details"][0]["field"] == "cursor"
    failed = attributes(client, path, status="failed")
    assert [one["event_summary"] for one in failed] == ["OSError: gone 7", "OSError: gone 4", "OSError: gone 1"]
    assert None not in [one["pipeline_run_id"] for one in attributes(client, path, status="succeeded")]
