"""Schedules over the API: what they are, their switches, runs of them, and what became of their fires."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from dagster import DagsterInstance
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.scheduler.instigation import InstigatorType, TickData, TickStatus
from dagster_shared.error import SerializableErrorInfo

from api_adapter.records import AuditFilter, Scope, open_records
from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from tests.api import served
from tests.api.credentials import bearer, make_key
from tests.api.making import execute

IDS = ["sch_bad", "sch_branches", "sch_off"]
ATTRIBUTES = {
    "pipeline_id",
    "cron_expression",
    "timezone",
    "enabled",
    "next_run_at",
    "last_run_at",
    "created_at",
    "updated_at",
}


@pytest.fixture(autouse=True)
def _as_declared(instance: DagsterInstance) -> Iterator[None]:
    """Each test begins with the switches as the documents have them."""
    yield
    for state in instance.all_instigator_state():
        instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)


def attributes(client: httpx.Client, schedule_id: str, **params: Any) -> dict[str, Any]:
    told: dict[str, Any] = client.get(f"/api/schedules/{schedule_id}", params=params).json()["data"]["attributes"]
    return told


def limited(settings: ApiSettings, *scopes: Scope, pipelines: tuple[str, ...] | None = None) -> dict[str, str]:
    """The header of a new key."""
    return bearer(make_key(settings.postgres_url, *scopes, pipelines=pipelines)[1])


def test_schedules_are_listed_by_their_ids(client: httpx.Client) -> None:
    """With what the product's reference names, in pages."""
    answer = client.get("/api/schedules").json()
    assert [each["id"] for each in answer["data"]] == IDS
    assert all(each["type"] == "schedule" and each["attributes"].keys() >= ATTRIBUTES for each in answer["data"])
    assert answer["meta"] == {"page": {"limit": 50, "cursor": None}}
    seen, cursor = [], None
    for _ in IDS:
        page = client.get("/api/schedules", params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json()
        seen += [each["id"] for each in page["data"]]
        cursor = page["meta"]["page"]["cursor"]
    assert (seen, cursor) == (IDS, None)


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ({"pipeline_id": "pl_branches"}, ["sch_branches", "sch_off"]),
        ({"pipeline_id": "pl_none"}, []),
        ({"enabled": "true"}, ["sch_branches"]),
        ({"enabled": "false", "pipeline_id": "pl_branches"}, ["sch_off"]),
    ],
)
def test_lists_can_be_filtered(client: httpx.Client, params: dict[str, str], ids: list[str]) -> None:
    """By pipeline and by switch."""
    assert [each["id"] for each in client.get("/api/schedules", params=params).json()["data"]] == ids


def test_a_schedule_tells_when_it_fires(client: httpx.Client) -> None:
    """In UTC and in its own zone; the first is when it runs next, unless it is off."""
    told = attributes(client, "sch_branches", preview=10)
    zone = ZoneInfo("Europe/Berlin")
    fires = [(datetime.fromisoformat(each["at"]), datetime.fromisoformat(each["local"])) for each in told["preview"]]
    assert len(fires) == 10
    assert all(at == local and local.utcoffset() == at.astimezone(zone).utcoffset() for at, local in fires)
    assert all((local.hour, local.minute) in {(2, 30), (3, 0)} for _, local in fires)
    assert told["next_run_at"] == told["preview"][0]["at"]
    assert told["variables"] == {"day": "{{ ds }}"}
    off = attributes(client, "sch_off", preview=1)
    assert (off["enabled"], off["next_run_at"], len(off["preview"])) == (False, None, 1)
    assert attributes(client, "sch_off")["preview"] is None


def test_a_schedule_is_switched(client: httpx.Client) -> None:
    """As often as one likes; the state is Dagster's."""
    for action, on in (("enable", True), ("enable", True), ("disable", False), ("disable", False)):
        answer = client.post(f"/api/schedules/sch_off/{action}")
        assert (answer.status_code, answer.json()["data"]["attributes"]["enabled"]) == (200, on)
        assert attributes(client, "sch_off")["enabled"] is on
        assert (attributes(client, "sch_off")["next_run_at"] is not None) is on


def test_a_schedule_of_a_draft_stays_off(client: httpx.Client) -> None:
    """It would start nothing, and says so."""
    refused = client.post("/api/schedules/sch_bad/enable")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert "its pipeline is draft" in refused.json()["error"]["message"]
    assert client.post("/api/schedules/sch_bad/disable").status_code == 200


def test_a_schedule_runs_now(client: httpx.Client, instance: DagsterInstance) -> None:
    """A run in the queue, with what the schedule sets; the caller's variables come first."""
    answer = client.post("/api/schedules/sch_branches/run", json={})
    assert answer.status_code == 202
    data = answer.json()["data"]
    created_at = data["attributes"].pop("created_at")
    assert data == {
        "id": data["id"],
        "type": "pipeline_run",
        "attributes": {
            "pipeline_id": "pl_branches",
            "schedule_id": "sch_branches",
            "status": "queued",
            "trigger": "schedule_manual",
        },
    }
    assert answer.headers["Location"] == f"/api/runs/{data['id']}"
    run = client.get(f"/api/runs/{data['id']}").json()
    assert run["trigger"] == {"type": "schedule_manual", "scheduleId": "sch_branches", "user": "tests"}
    now = datetime.fromisoformat(created_at)
    assert run["variables"] == {"day": now.astimezone(ZoneInfo("Europe/Berlin")).date().isoformat()}
    found = instance.get_run_by_id(decode_run_id(data["id"]))
    assert found is not None
    assert found.tags[tags.LIMITED_BY] == "sch_branches 1"
    slice_ = [found.tags[key] for key in (tags.PREVIOUS_SCHEDULED_AT, tags.SCHEDULED_AT, tags.NEXT_SCHEDULED_AT)]
    assert slice_ == sorted(slice_)
    given = client.post("/api/schedules/sch_off/run", json={"variables": {"day": "2025-02-03"}}).json()["data"]["id"]
    assert client.get(f"/api/runs/{given}").json()["variables"] == {"day": "2025-02-03"}


def test_a_request_to_run_may_be_sent_again(client: httpx.Client) -> None:
    """With its key it means the same run; with another body, or of another schedule, it is refused."""
    headers = {"Idempotency-Key": uuid4().hex}
    first, again = (client.post("/api/schedules/sch_branches/run", headers=headers) for _ in range(2))
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    body = {"variables": {"day": "2025-02-03"}}
    for schedule_id in ("sch_branches", "sch_off"):
        refused = client.post(f"/api/schedules/{schedule_id}/run", headers=headers, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("body", "field"), [({"variables": {"day": 5}}, "variables.day"), ({"colour": "red"}, "body.colour")]
)
def test_wrong_requests_are_refused(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    """Each names its field."""
    refused = client.post("/api/schedules/sch_branches/run", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["details"][0]["field"].removeprefix("body.") == field.removeprefix("body.")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("GET", "/fires"), ("POST", "/enable"), ("POST", "/disable"), ("POST", "/run")],
)
def test_a_key_sees_the_schedules_of_its_pipelines(
    client: httpx.Client, settings: ApiSettings, method: str, path: str
) -> None:
    """Others do not exist for it, whatever it asks."""
    key = limited(settings, Scope.ADMIN_ORGANIZATION, pipelines=("pl_crm",))
    answers = [client.request(method, f"/api/schedules/{id_}{path}", headers=key) for id_ in ("sch_branches", "sch_no")]
    assert [(each.status_code, each.json()["error"]["code"]) for each in answers] == [(404, "schedule_not_found")] * 2
    assert client.get("/api/schedules", headers=key).json()["data"] == []


def test_each_call_needs_its_scope(client: httpx.Client, settings: ApiSettings) -> None:
    """Reading, switching, and for a run the right to start runs as well."""
    reader, writer = limited(settings, Scope.SCHEDULES_READ), limited(settings, Scope.SCHEDULES_WRITE)
    both = limited(settings, Scope.SCHEDULES_WRITE, Scope.PIPELINES_RUN)
    asked = [
        (client.get("/api/schedules", headers=reader), 200),
        (client.get("/api/schedules", headers=writer), 403),
        (client.post("/api/schedules/sch_off/disable", headers=reader), 403),
        (client.post("/api/schedules/sch_off/disable", headers=writer), 200),
        (client.post("/api/schedules/sch_off/run", headers=writer), 403),
        (client.post("/api/schedules/sch_off/run", headers=both), 202),
    ]
    assert [answer.status_code for answer, _ in asked] == [status for _, status in asked]


def test_actions_are_on_record(client: httpx.Client, settings: ApiSettings) -> None:
    """The audit trail has who did what to which schedule, and the run that came of it."""
    client.post("/api/schedules/sch_off/enable")
    client.post("/api/schedules/sch_off/disable")
    run_id = client.post("/api/schedules/sch_off/run").json()["data"]["id"]
    with open_records(settings.postgres_url) as records:
        found = records.audit.list_events(AuditFilter(), limit=50)
    events = [event for event in found if event.resource == "sch_off"][:3]
    assert [event.action for event in events] == ["schedule.run", "schedule.disable", "schedule.enable"]
    assert events[0].detail == {"runId": run_id}


Told = tuple[datetime, str, str | None, list[str]]
NOON = datetime(2025, 3, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Ticks:
    """Ticks of a schedule, as Dagster's scheduler and our schedules write them."""

    def __init__(self, instance: DagsterInstance, schedule_id: str) -> None:
        self._instance = instance
        selector = InstigatorSelector(location_name="planasonix", repository_name="planasonix", name=schedule_id)
        self._selector_id, self._name = selector.get_id(), schedule_id

    def write(self, at: datetime, status: TickStatus, **more: Any) -> None:
        data = TickData("origin", self._name, InstigatorType.SCHEDULE, status, at.timestamp(), **more)
        self._instance.create_tick(data._replace(selector_id=self._selector_id))

    def start(self, at: datetime, *fires: datetime, run_id: str = "") -> list[str]:
        ids = [run_id or str(uuid4()) for _ in fires]
        self.write(at, TickStatus.SUCCESS, run_ids=ids, run_keys=[fire.isoformat() for fire in fires])
        return [encode_run_id(each) for each in ids]


def test_fires_tell_what_became_of_them(client: httpx.Client, instance: DagsterInstance) -> None:
    """The newest first: runs, also of fires that were made up for, or the reason why there is none."""
    ticks = Ticks(instance, "sch_off")
    cause = SerializableErrorInfo("x.RunVariableError: variable 'day': must be set\n", [], "RunVariableError")
    error = SerializableErrorInfo("SchedulerExecutionError: Error occurred\n", [], "SchedulerExecutionError", cause)
    run = execute(served.two_branches, instance=instance)
    ticks.write(NOON - 6 * HOUR, TickStatus.SKIPPED, skip_reason="it was missed")
    ticks.write(NOON - 5 * HOUR, TickStatus.STARTED)  # interrupted: the next one has started its run
    (first, second) = ticks.start(NOON - 4 * HOUR, NOON - 5 * HOUR, NOON - 4 * HOUR)
    ticks.write(NOON - 3 * HOUR, TickStatus.FAILURE, error=error, failure_count=1)
    (last,) = ticks.start(NOON - 2 * HOUR, NOON - 2 * HOUR, run_id=run)
    ticks.write(NOON, TickStatus.STARTED)  # at work
    expected = [
        (NOON - 2 * HOUR, "started", None, [last]),
        (NOON - 3 * HOUR, "failed", "variable 'day': must be set", []),
        (NOON - 4 * HOUR, "started", None, [second]),
        (NOON - 5 * HOUR, "started", None, [first]),
        (NOON - 6 * HOUR, "skipped", "it was missed", []),
    ]
    for limit in (50, 1, 2, 3, 4):
        assert list(walk(client, "sch_off", limit=limit)) == expected, limit
    record = instance.get_run_record_by_id(run)
    assert record is not None
    told = datetime.fromisoformat(attributes(client, "sch_off")["last_run_at"])
    assert abs(told - record.create_timestamp) < timedelta(seconds=1)


def walk(
    client: httpx.Client, schedule_id: str, *, limit: int
) -> Iterator[tuple[datetime, str, str | None, list[str]]]:
    """All fires, page by page."""
    cursor = None
    while True:
        params: dict[str, Any] = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        answer = client.get(f"/api/schedules/{schedule_id}/fires", params=params).json()
        assert len(answer["data"]) <= limit
        for each in answer["data"]:
            told = each["attributes"]
            assert (each["type"], told["schedule_id"], each["id"]) == ("schedule_fire", schedule_id, told["due_at"])
            yield datetime.fromisoformat(told["due_at"]), told["status"], told["reason"], told["run_ids"]
        cursor = answer["meta"]["page"]["cursor"]
        if cursor is None:
            return


def test_a_schedule_that_never_fired_has_no_fires(client: httpx.Client) -> None:
    """And no last run."""
    assert client.get("/api/schedules/sch_bad/fires").json()["data"] == []
    assert attributes(client, "sch_bad")["last_run_at"] is None


def test_a_run_tells_when_it_was_due(client: httpx.Client, instance: DagsterInstance) -> None:
    """A retry tells the same, beside its parent."""
    due = {tags.TRIGGER: "schedule", tags.SCHEDULE_ID: "sch_branches", tags.SCHEDULED_AT: "2025-03-27T01:30:00Z"}
    slice_ = {tags.DS: "2025-03-27", tags.PREVIOUS_SCHEDULED_AT: "a", tags.NEXT_SCHEDULED_AT: "b"}
    limit = {tags.LIMITED_BY: "sch_branches 1"}
    run_id = encode_run_id(execute(served.two_branches, instance=instance, tags={**due, **slice_, **limit}))
    facts = {"scheduleId": "sch_branches", "scheduledAt": "2025-03-27T01:30:00Z"}
    assert client.get(f"/api/runs/{run_id}").json()["trigger"] == {"type": "schedule", **facts}
    retry = client.post(f"/api/runs/{run_id}/retry").json()["runId"]
    told = client.get(f"/api/runs/{retry}").json()["trigger"]
    assert told == {"type": "retry", **facts, "user": "tests", "parentRunId": run_id}
    found = instance.get_run_by_id(decode_run_id(retry))
    assert found is not None
    assert {key: found.tags[key] for key in (*slice_, *limit)} == {**slice_, **limit}
