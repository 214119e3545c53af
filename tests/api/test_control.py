"""Starting and canceling over HTTP, with a real code server and runs that it really executes."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from api_adapter.control.code_location import DagsterConnection
from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from tests.api.making import make_run
from tests.api.waiting import wait_until
from tests.conftest import superuser

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def connection(settings: ApiSettings) -> Iterator[DagsterConnection]:
    connection = DagsterConnection(settings)
    yield connection
    connection.close()


def start(client: httpx.Client, pipeline_id: str) -> str:
    answer = client.post(f"/api/pipelines/{pipeline_id}/run")
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["runId"]
    return run_id


def launch(connection: DagsterConnection, run_id: str) -> None:
    """Launch a queued run, as Dagster's daemon does."""
    connection.instance().launch_run(decode_run_id(run_id), connection.loaded().workspace)


def status_of(client: httpx.Client, run_id: str) -> str:
    status: str = client.get(f"/api/runs/{run_id}").json()["status"]
    return status


def dagster_status(connection: DagsterConnection, run_id: str) -> DagsterRunStatus:
    run = connection.instance().get_run_by_id(decode_run_id(run_id))
    assert run is not None
    return run.status


@contextmanager
def waiting_in_its_node(client: httpx.Client, connection: DagsterConnection) -> Iterator[str]:
    """A run of `slow` whose node is at work."""
    run_id = start(client, "pl_slow")
    launch(connection, run_id)

    def at_work() -> bool:
        return bool(client.get(f"/api/runs/{run_id}/nodes").json()["nodes"][0]["status"] == "running")

    wait_until(at_work, seconds=60)
    yield run_id


def test_a_run_is_queued_with_its_tags_and_config(client: httpx.Client, instance: DagsterInstance) -> None:
    """The answer has the documented shape; the run waits in Dagster's queue and knows pipeline, version, trigger."""
    answer = client.post("/api/pipelines/pl_crm/run", json={"variables": {"top": 3}, "environmentId": "env_prod"})
    assert answer.status_code == 202
    body = answer.json()
    assert list(body) == ["runId", "pipelineId", "status", "queuedAt"]
    assert (body["pipelineId"], body["status"]) == ("pl_crm", "queued")
    run = instance.get_run_by_id(decode_run_id(body["runId"]))
    assert run is not None
    assert run.status == DagsterRunStatus.QUEUED
    detail = client.get(f"/api/runs/{body['runId']}").json()
    assert detail["trigger"] == {"type": "api", "user": "tests"}
    assert (detail["pipelineVersion"], detail["environmentId"]) == ("0123456789abcdef", "env_prod")
    assert detail["queuedAt"] == body["queuedAt"]
    lines = client.get(f"/api/runs/{body['runId']}/logs").json()
    assert [line["message"] for line in lines["lines"]] == ["Run queued"]
    assert lines["nextCursor"] is not None


@pytest.mark.parametrize("body", [{"content": b""}, {"json": {}}, {"json": {"variables": {}}}, {"json": None}])
def test_a_body_is_optional(body: dict[str, object], client: httpx.Client) -> None:
    """A pipeline whose variables all have defaults runs without any body."""
    assert client.request("POST", "/api/pipelines/pl_crm/run", **body).status_code == 202  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pipeline_id", "variables", "fields"),
    [
        ("pl_crm", {"nope": 1}, ["variables.nope"]),
        ("pl_crm", {"top": "three", "day": "yesterday"}, ["variables.top", "variables.day"]),
        ("pl_crm", {"top": True}, ["variables.top"]),
        ("pl_crm", {"day": "20250101"}, ["variables.day"]),
        ("pl_crm", {"top": 1.5}, ["variables.top"]),
        ("pl_demanding", {}, ["variables.region"]),
        ("pl_demanding", {"region": None}, ["variables.region"]),
        ("pl_demanding", {"region": 4}, ["variables.region"]),
    ],
)
def test_wrong_variables_are_refused_before_a_run_exists(
    pipeline_id: str, variables: dict[str, object], fields: list[str], client: httpx.Client, instance: DagsterInstance
) -> None:
    """Unknown, missing and wrongly typed variables give 400, all of them at once, and create nothing."""
    before = instance.get_runs_count()
    answer = client.post(f"/api/pipelines/{pipeline_id}/run", json={"variables": variables})
    assert answer.status_code == 400
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == fields
    assert instance.get_runs_count() == before


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b'{"variable": {}}',
        b'{"variables": [1]}',
        b'{"environmentId": ""}',
        b'{"environmentId": "a\\u0000"}',
        b"\xff",
    ],
)
def test_a_wrong_body_is_refused(body: bytes, client: httpx.Client) -> None:
    """What is not JSON, or not of the documented shape, gives 400 in the error shape."""
    answer = client.post("/api/pipelines/pl_crm/run", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


def test_half_a_surrogate_pair_is_no_string(client: httpx.Client) -> None:
    """A text that no encoding can hold is refused, before a run computes with something else."""
    body = rb'{"variables": {"region": "\ud800"}}'
    answer = client.post("/api/pipelines/pl_demanding/run", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"] == [{"field": "variables.region", "issue": "must be a string"}]


def test_unknown_and_broken_pipelines_do_not_run(client: httpx.Client) -> None:
    """404 for an unknown pipeline; 409 with its problems for one whose document does not load."""
    for call in (client.get("/api/pipelines/pl_none"), client.post("/api/pipelines/pl_none/run")):
        assert (call.status_code, call.json()["error"]["code"]) == (404, "pipeline_not_found")
    for call in (client.get("/api/pipelines/pl_broken"), client.post("/api/pipelines/pl_broken/run")):
        assert (call.status_code, call.json()["error"]["code"]) == (409, "pipeline_broken")
        (detail,) = call.json()["error"]["details"]
        assert detail["field"] == "$.nodes[0].type"
        assert "broken.yaml:4" in detail["issue"]
        assert "did you mean" in detail["issue"]


def test_pipelines_are_listed_by_name_with_problems(client: httpx.Client) -> None:
    """The list has the documented fields, and says which documents are missing from it and why."""
    answer = client.get("/api/pipelines").json()
    assert [pipeline["name"] for pipeline in answer["data"]] == [
        "crm_to_warehouse",
        "failing",
        "failing",
        "hooked",
        "slow",
        "two_branches",
    ]
    assert answer["data"][0] == {
        "id": "pl_crm",
        "name": "crm_to_warehouse",
        "projectId": "proj_sales",
        "folderId": None,
        "status": "active",
        "updatedAt": "2025-03-01T00:00:00Z",
    }
    assert answer["meta"]["total"] == 6
    assert answer["meta"]["problems"][0]["file"] == "broken.yaml"


def test_pipelines_can_be_searched(client: httpx.Client) -> None:
    """`search` looks at names and ids whatever their case; `status` takes only the documented words."""

    def ids(**query: str) -> list[str]:
        return [pipeline["id"] for pipeline in client.get("/api/pipelines", params=query).json()["data"]]

    assert ids(search="WAREHOUSE") == ["pl_crm"]
    assert ids(search="pl_sl") == ["pl_slow"]
    assert ids(status="draft") == ["pl_bad"]
    assert client.get("/api/pipelines", params={"status": "lost"}).status_code == 400


def test_a_pipeline_is_its_whole_graph(client: httpx.Client) -> None:
    """The document as it was written, with its version and when it changed."""
    pipeline = client.get("/api/pipelines/pl_crm").json()
    assert pipeline["nodes"] == [{"id": "n_source", "type": "source.postgres", "config": {"table": "public.contacts"}}]
    assert pipeline["variables"]["day"] == {"type": "date", "default": "2025-01-01"}
    assert (pipeline["version"], pipeline["updatedAt"]) == ("0123456789abcdef", "2025-03-01T00:00:00Z")


def test_the_execution_plan_has_order_stages_and_steps(client: httpx.Client) -> None:
    """The plan of the current graph, as the code location publishes it; 404 and 409 as for the pipeline."""
    plan = client.get("/api/pipelines/pl_crm/execution-plan").json()
    assert (plan["pipelineId"], plan["version"], plan["order"]) == ("pl_crm", "0123456789abcdef", ["n_source"])
    assert plan["stages"] == [{"stage": 0, "nodeIds": ["n_source"]}]
    assert plan["steps"][0]["type"] == "source.postgres"
    assert client.get("/api/pipelines/pl_unknown/execution-plan").status_code == 404
    assert client.get("/api/pipelines/pl_broken/execution-plan").status_code == 409


def test_execution_status_of_a_pipeline_that_has_never_run(client: httpx.Client) -> None:
    """A pipeline without runs has a status without a run; one that is not there is not found."""
    assert client.get("/api/pipelines/pl_demanding/execution-status").json() == {
        "pipelineId": "pl_demanding",
        "runId": None,
        "status": None,
        "progress": {"completedNodes": 0, "totalNodes": 0},
        "startedAt": None,
    }
    assert client.get("/api/pipelines/pl_unknown/execution-status").status_code == 404


def test_connections_that_were_lost_while_idle_are_replaced(client: httpx.Client, database_url: str) -> None:
    """After a restart of Postgres the first start of a run succeeds, and exactly one run comes of it."""
    start(client, "pl_crm")
    before = len(client.get("/api/runs", params={"pipelineId": "pl_crm", "limit": 500}).json()["data"])
    with superuser(database_url) as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
        )
    start(client, "pl_crm")
    after = len(client.get("/api/runs", params={"pipelineId": "pl_crm", "limit": 500}).json()["data"])
    assert after == before + 1


def test_canceling_a_queued_run_is_immediate(client: httpx.Client) -> None:
    """A queued run reads `canceled` as soon as the request is answered, and canceling it again changes nothing."""
    run_id = start(client, "pl_slow")
    answer = client.delete(f"/api/runs/{run_id}")
    assert answer.status_code == 202
    assert set(answer.json()) == {"id", "status", "message"}
    assert (answer.json()["id"], answer.json()["status"]) == (run_id, "cancel_requested")
    assert status_of(client, run_id) == "canceled"
    again = client.delete(f"/api/runs/{run_id}")
    assert (again.status_code, again.json()["status"]) == (200, "canceled")


def test_canceling_a_running_run_stops_it(client: httpx.Client, connection: DagsterConnection) -> None:
    """Two requests get the same answer, the run ends `canceled`, and so does the node that was interrupted."""
    with waiting_in_its_node(client, connection) as run_id:
        assert status_of(client, run_id) == "running"
        for _ in range(2):
            answer = client.delete(f"/api/runs/{run_id}")
            assert (answer.status_code, answer.json()["status"]) == (202, "cancel_requested")
        wait_until(lambda: status_of(client, run_id) == "canceled", seconds=30)
    nodes = client.get(f"/api/runs/{run_id}/nodes").json()["nodes"]
    assert [node["status"] for node in nodes] == ["canceled", "canceled"]
    assert client.get(f"/api/runs/{run_id}").json()["error"] is None
    lines = client.get(f"/api/runs/{run_id}/logs").json()["lines"]
    assert [line["message"] for line in lines if line["level"] == "error"] == []
    assert [line["message"] for line in lines[-2:]] == ["Node stopped", "Run canceled"]


def test_canceling_a_starting_run_is_driven_until_it_can_be_stopped(
    client: httpx.Client, connection: DagsterConnection
) -> None:
    """Dagster refuses to stop a run that is being launched; the wish stays, and the run ends `canceled`."""
    run_id = start(client, "pl_slow")
    launching = Thread(target=launch, args=(connection, run_id))
    launching.start()
    wait_until(lambda: dagster_status(connection, run_id) != DagsterRunStatus.QUEUED, seconds=30)
    assert dagster_status(connection, run_id) == DagsterRunStatus.STARTING
    assert client.delete(f"/api/runs/{run_id}").json()["status"] == "cancel_requested"
    wait_until(lambda: status_of(client, run_id) == "canceled", seconds=60)
    launching.join()


@pytest.mark.parametrize(
    ("status", "told"), [(DagsterRunStatus.SUCCESS, "succeeded"), (DagsterRunStatus.FAILURE, "failed")]
)
def test_completed_runs_return_409(
    status: DagsterRunStatus, told: str, client: httpx.Client, instance: DagsterInstance
) -> None:
    """Completed runs return 409, with their final status."""
    run_id = encode_run_id(make_run(instance, status=status).run_id)
    answer = client.delete(f"/api/runs/{run_id}")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "run_finished"
    assert answer.json()["error"]["details"] == [{"field": "status", "issue": told}]
    assert client.delete("/api/runs/run_00000000000000000000000000").status_code == 404
