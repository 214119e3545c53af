"""Backfills over the API: what runs, in which order, how far it has come, and stopping and mending the whole."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.dagster_run import DagsterRun

from api_adapter.records import AuditFilter, Scope, open_records
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import decode_run_id
from tests.api.credentials import bearer, make_key

pytestmark = pytest.mark.stack

BRANCHES = "/api/pipelines/pl_branches/backfill"
MARCH = {"from": "2025-03-01", "to": "2025-03-03"}

Runs = Callable[[dict[str, Any]], list[DagsterRun]]


@pytest.fixture
def runs_of(client: httpx.Client, instance: DagsterInstance) -> Iterator[Runs]:
    """The runs of a backfill's slices, the earliest first; all are ended after the test."""
    found: list[DagsterRun] = []

    def read(backfill: dict[str, Any]) -> list[DagsterRun]:
        slices = client.get(f"/api/backfills/{backfill['id']}/slices?limit=500").json()["data"]
        runs = [instance.get_run_by_id(decode_run_id(one["runId"])) for one in slices]
        found.extend(run for run in runs if run is not None)
        return [run for run in runs if run is not None]

    yield read
    for each in found:
        run = instance.get_run_by_id(each.run_id)
        if run is not None and not run.is_finished:
            instance.report_run_canceled(run)


def start(client: httpx.Client, path: str = BRANCHES, *, key: str | None = None, **body: Any) -> httpx.Response:
    return client.post(path, json={**MARCH, **body}, headers={"Idempotency-Key": key} if key else {})


def started(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = start(client, **body)
    assert answer.status_code == 202, answer.text
    backfill: dict[str, Any] = answer.json()
    return backfill


def variables_of(run: DagsterRun) -> Any:
    resources: Any = run.run_config["resources"]
    return resources["variables"]["config"]


def test_each_slice_is_a_run_that_knows_it(client: httpx.Client, instance: DagsterInstance, runs_of: Runs) -> None:
    """In the queue, in the order of time, with what `{{ ds }}` and its like stand for in its tags."""
    answer = start(client, timezone="Europe/Berlin", variables={"day": "2024-12-31"}, priority=3)
    backfill = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/backfills/{backfill['id']}"
    assert client.get(answer.headers["Location"]).json() == backfill
    assert backfill["status"] == "running"
    assert backfill["progress"] == {"total": 3, "done": 0, "failed": 0, "canceled": 0, "running": 0, "remaining": 3}
    assert (backfill["from"], backfill["to"]) == ("2025-02-28T23:00:00Z", "2025-03-03T23:00:00Z")
    runs = runs_of(backfill)
    assert [run.tags[tags.DS] for run in runs] == ["2025-03-01", "2025-03-02", "2025-03-03"]
    assert {run.status for run in runs} == {DagsterRunStatus.QUEUED}
    second = runs[1].tags
    assert second[tags.SCHEDULED_AT] == "2025-03-01T23:00:00Z"
    assert second[tags.PREVIOUS_SCHEDULED_AT] == runs[0].tags[tags.SCHEDULED_AT]
    assert second[tags.NEXT_SCHEDULED_AT] == runs[2].tags[tags.SCHEDULED_AT]
    assert (second[tags.TRIGGER], second[tags.LIMITED_BY]) == ("backfill", f"{backfill['id']} 1")
    assert second["dagster/priority"] == "3"
    assert variables_of(runs[1]) == {"day": "2024-12-31"}
    records = [instance.get_run_record_by_id(run.run_id) for run in runs]
    ids = [record.storage_id for record in records if record is not None]
    assert ids == sorted(ids)
    detail = client.get(f"/api/runs/{client.get(answer.headers['Location'] + '/slices').json()['data'][1]['runId']}")
    assert detail.json()["trigger"]["backfillId"] == backfill["id"]


def test_the_latest_may_come_first(client: httpx.Client, instance: DagsterInstance, runs_of: Runs) -> None:
    """Slices are listed by time all the same; without a limit they carry none."""
    runs = runs_of(started(client, order="descending", maxConcurrentRuns=None))
    records = [instance.get_run_record_by_id(run.run_id) for run in runs]
    ids = [record.storage_id for record in records if record is not None]
    assert ids == sorted(ids, reverse=True)
    assert all(tags.LIMITED_BY not in run.tags for run in runs)


def test_a_schedule_gives_the_slices_and_its_variables(client: httpx.Client, runs_of: Runs) -> None:
    """Each run gets its own value of a variable that the schedule fills with the slice."""
    runs = runs_of(started(client, scheduleId="sch_branches"))
    assert [run.tags[tags.SCHEDULED_AT] for run in runs] == [f"2025-03-0{day}T01:30:00Z" for day in (1, 2, 3)]
    days = [variables_of(run)["day"] for run in runs]
    assert days == ["2025-03-01", "2025-03-02", "2025-03-03"]


def test_a_dry_run_starts_nothing(client: httpx.Client) -> None:
    """It tells the slices, in the order in which they would run."""
    before = client.get("/api/backfills").json()["data"]
    answer = start(client, order="descending", dryRun=True)
    assert answer.status_code == 200
    assert [one["ds"] for one in answer.json()["slices"]] == ["2025-03-03", "2025-03-02", "2025-03-01"]
    assert client.get("/api/backfills").json()["data"] == before


def test_the_same_key_is_the_same_backfill(client: httpx.Client, runs_of: Runs) -> None:
    """With another body it is a conflict, also where the ranges have nothing in common."""
    first, again = start(client, key="march"), start(client, key="march")
    assert again.json() == first.json()
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert start(client, key="march", **{"from": "2024-01-01", "to": "2024-01-01"}).status_code == 409
    assert len(runs_of(first.json())) == 3


def test_progress_counts_the_newest_run_of_each_slice(
    client: httpx.Client, instance: DagsterInstance, runs_of: Runs
) -> None:
    """A retry of what failed or was canceled leaves the rest alone; its run has the slice's place."""
    backfill = started(client)
    path = f"/api/backfills/{backfill['id']}"
    first, second, third = runs_of(backfill)
    assert client.post(f"{path}/retry").status_code == 409
    instance.report_run_failed(first)
    instance.report_run_canceled(second)
    assert client.get(path).json()["progress"] == {
        "total": 3,
        "done": 0,
        "failed": 1,
        "canceled": 1,
        "running": 0,
        "remaining": 1,
    }
    retried = client.post(f"{path}/retry").json()
    assert len(retried["runs"]) == 2
    slices = client.get(f"{path}/slices").json()["data"]
    assert [(one["status"], one["attempts"]) for one in slices] == [("queued", 2), ("queued", 2), ("queued", 1)]
    assert [one["runId"] for one in slices[:2]] == retried["runs"]
    retry = runs_of(backfill)[0]
    assert (retry.parent_run_id, retry.tags[tags.LIMITED_BY]) == (first.run_id, f"{backfill['id']} 1")
    instance.report_run_failed(third)
    only = client.get(f"{path}/slices?status=failed").json()["data"]
    assert [one["scheduledAt"] for one in only] == ["2025-03-03T00:00:00Z"]


def test_a_cancel_stops_the_whole(client: httpx.Client, instance: DagsterInstance, runs_of: Runs) -> None:
    """What has ended stays as it is; asking again when all has ended is a conflict."""
    backfill = started(client)
    path = f"/api/backfills/{backfill['id']}"
    first, *rest = runs_of(backfill)
    instance.report_run_failed(first)
    answer = client.post(f"{path}/cancel")
    assert (answer.status_code, answer.json()["status"], len(answer.json()["runs"])) == (202, "cancel_requested", 2)
    for run in rest:
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.tags[tags.CANCEL_OF] == run.run_id
        if not found.is_finished:
            instance.report_run_canceled(found)
    assert client.get(path).json()["status"] == "failed"
    again = client.post(f"{path}/cancel")
    assert (again.status_code, again.json()["error"]["details"][0]["issue"]) == (409, "is failed")


def test_lists_go_newest_first_in_pages(client: httpx.Client, runs_of: Runs) -> None:
    """Of one pipeline or of all; the cursor of another list is refused."""
    made = [started(client) for _ in range(3)]
    for one in made:
        runs_of(one)
    ids = [one["id"] for one in made[::-1]]
    page = client.get("/api/backfills?limit=2&pipelineId=pl_branches").json()
    assert [one["id"] for one in page["data"]] == ids[:2]
    rest = client.get(
        "/api/backfills", params={"limit": 2, "pipelineId": "pl_branches", "cursor": page["meta"]["cursor"]}
    )
    assert rest.json()["data"][0]["id"] == ids[2]
    assert client.get("/api/backfills", params={"cursor": page["meta"]["cursor"]}).status_code == 400
    slices = client.get(f"/api/backfills/{ids[0]}/slices?limit=2").json()
    after = client.get(
        f"/api/backfills/{ids[0]}/slices", params={"limit": 2, "cursor": slices["meta"]["cursor"]}
    ).json()
    assert [len(slices["data"]), len(after["data"]), after["meta"]["cursor"]] == [2, 1, None]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"from": "soon", "to": "never", "step": "often"}, ["from", "to", "step"]),
        ({"from": "2025-03-04"}, ["to"]),
        ({"from": "1999-01-01", "step": "hour"}, ["to"]),
        ({"step": "day", "scheduleId": "sch_branches"}, ["step"]),
        ({"scheduleId": "sch_other"}, ["scheduleId"]),
        ({"timezone": "Mars/Olympus"}, ["timezone"]),
        ({"variables": {"dya": "2025-01-01"}}, ["variables.dya"]),
        ({"environmentId": "env_none"}, ["environmentId"]),
        ({"maxConcurrentRuns": 0}, ["maxConcurrentRuns"]),
        ({"sort": "up"}, ["sort"]),
    ],
)
def test_what_is_wrong_is_named_and_nothing_starts(
    client: httpx.Client, body: dict[str, Any], fields: list[str]
) -> None:
    """All of it at once, where it can be told at once."""
    before = client.get("/api/runs?trigger=backfill&limit=1").json()["data"]
    answer = start(client, **body)
    assert answer.status_code == 400, answer.text
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == fields
    assert client.get("/api/runs?trigger=backfill&limit=1").json()["data"] == before


def test_who_may_not_see_the_pipeline_sees_no_backfill(client: httpx.Client, database_url: str, runs_of: Runs) -> None:
    """Neither in lists, nor by its id, nor may they start or stop one."""
    backfill = started(client)
    runs_of(backfill)
    _, secret = make_key(database_url, Scope.PIPELINES_READ, Scope.PIPELINES_RUN, pipelines=("pl_crm",))
    headers = bearer(secret)
    path = f"/api/backfills/{backfill['id']}"
    assert client.get("/api/backfills?pipelineId=pl_branches", headers=headers).json()["data"] == []
    calls = [("GET", path), ("GET", f"{path}/slices"), ("POST", f"{path}/cancel"), ("POST", f"{path}/retry")]
    for method, where in calls:
        assert client.request(method, where, headers=headers).status_code == 404
    assert client.post(BRANCHES, json=MARCH, headers=headers).status_code == 404
    _, reader = make_key(database_url, Scope.PIPELINES_READ)
    assert client.post(f"{path}/cancel", headers=bearer(reader)).status_code == 403


def test_it_is_on_record_who_did_what(client: httpx.Client, database_url: str, runs_of: Runs) -> None:
    """Start, cancel and retry, with the backfill or the runs that they were about."""
    backfill = started(client)
    runs_of(backfill)
    client.post(f"/api/backfills/{backfill['id']}/cancel")
    with open_records(database_url) as records:
        canceled, begun = records.audit.list_events(AuditFilter(action="backfill"), limit=2)
    assert (begun.action, canceled.action) == ("backfill.start", "backfill.cancel")
    assert begun.detail["backfillId"] == backfill["id"]
    assert len(canceled.detail["runIds"]) == 3
