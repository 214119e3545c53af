"""The specification of the Runs API (the seed), sentence by sentence: each test is named after its sentence."""

import json
import shutil
import subprocess
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api import served
from tests.api.conftest import admin_key, serving
from tests.api.making import execute, make_run

Json = dict[str, Any]

CURL = """
curl -X DELETE https://api.planasonix.com/api/runs/run_01j9l3n5 \\
  -H "Authorization: Bearer plnx_live_xxxxxxxx"
"""


@pytest.fixture(scope="module")
def pipeline_id() -> str:
    return f"pl_{uuid4().hex}"


@pytest.fixture(scope="module")
def succeeded(pipeline_id: str, instance: DagsterInstance) -> str:
    tags = {
        "planasonix/pipeline_id": pipeline_id,
        "planasonix/trigger": "schedule",
        "planasonix/schedule_id": "sch_01",
    }
    return encode_run_id(execute(served.crm_to_warehouse, instance=instance, tags=tags))


@pytest.fixture(scope="module")
def failed(pipeline_id: str, succeeded: str, instance: DagsterInstance) -> str:
    return encode_run_id(execute(served.failing, instance=instance, tags={"planasonix/pipeline_id": pipeline_id}))


@pytest.fixture(scope="module")
def run(succeeded: str, reader: httpx.Client) -> Json:
    record: Json = reader.get(f"/api/runs/{succeeded}").json()
    return record


def in_state(instance: DagsterInstance, status: DagsterRunStatus) -> str:
    return encode_run_id(make_run(instance, status=status).run_id)


def listed(reader: httpx.Client, **query: str | int) -> list[Json]:
    runs: list[Json] = reader.get("/api/runs", params=query).json()["data"]
    return runs


# A run is one execution of a pipeline graph.


def test_a_run_is_one_execution_of_a_pipeline_graph(succeeded: str, reader: httpx.Client) -> None:
    """Its nodes are those of the graph, each once."""
    nodes = reader.get(f"/api/runs/{succeeded}/nodes").json()["nodes"]
    assert [node["nodeId"] for node in nodes] == ["n_source", "keep-recent", "n_flaky"]


def test_auth_authorization_bearer_plus_your_api_key(reader: httpx.Client) -> None:
    """With the key the answer comes, without it 401."""
    assert reader.get("/api/runs").status_code == 200
    assert reader.get("/api/runs", headers={"Authorization": ""}).status_code == 401
    assert reader.get("/api/runs", headers={"Authorization": "Bearer plnx_live_xxxxxxxx"}).status_code == 401


def test_a_stranger_is_not_told_what_else_is_wrong(reader: httpx.Client) -> None:
    """Without the key, 401 comes before anything else: a wrong parameter, an unknown run."""
    for path in ("/api/runs?limit=x", "/api/runs/unknown", "/api/runs/unknown/logs?level=loud"):
        assert reader.get(path, headers={"Authorization": ""}).status_code == 401


# The list of runs.


def test_list_runs_across_pipelines_with_filters(succeeded: str, failed: str, reader: httpx.Client) -> None:
    """Without a filter, runs of all pipelines are listed."""
    execute_elsewhere = {run["pipelineId"] for run in listed(reader, limit=500)}
    assert len(execute_elsewhere) >= 1
    assert {succeeded, failed} <= {run["id"] for run in listed(reader, limit=500)}


def test_only_runs_for_this_pipeline(pipeline_id: str, succeeded: str, failed: str, reader: httpx.Client) -> None:
    """`pipelineId` lists this pipeline's runs, all of them, newest first."""
    assert [run["id"] for run in listed(reader, pipelineId=pipeline_id)] == [failed, succeeded]


@pytest.mark.parametrize("status", ["queued", "running", "succeeded", "failed", "canceled"])
def test_status_queued_running_succeeded_failed_canceled(
    status: str, succeeded: str, failed: str, reader: httpx.Client, instance: DagsterInstance
) -> None:
    """Each status is accepted and finds runs in it, and no others."""
    for made in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELED):
        in_state(instance, made)
    assert {run["status"] for run in listed(reader, status=status)} == {status}


def test_encoded_range_or_separate_from_to(pipeline_id: str, run: Json, reader: httpx.Client) -> None:
    """`dateRange=2025-03-01..2025-03-31` or `from` and `to`: both find the run on its day, and not on another."""
    day = run["startedAt"][:10]
    for query in ({"dateRange": f"{day}..{day}"}, {"from": day, "to": day}):
        assert run["id"] in [found["id"] for found in listed(reader, pipelineId=pipeline_id, **query)]
    assert listed(reader, pipelineId=pipeline_id, dateRange="2025-03-01..2025-03-31") == []


def test_page_size_and_pagination_cursor(pipeline_id: str, succeeded: str, failed: str, reader: httpx.Client) -> None:
    """`limit` runs are on a page; `meta.cursor` leads to the next, and is null at the end."""
    first = reader.get("/api/runs", params={"pipelineId": pipeline_id, "limit": 1}).json()
    assert [run["id"] for run in first["data"]] == [failed]
    query = {"pipelineId": pipeline_id, "limit": 1, "cursor": first["meta"]["cursor"]}
    second = reader.get("/api/runs", params=query).json()
    assert [run["id"] for run in second["data"]] == [succeeded]
    assert second["meta"] == {"cursor": None}


def test_example_response_of_the_list(pipeline_id: str, succeeded: str, reader: httpx.Client) -> None:
    """The fields are those of the example, in its order; the trigger is a word."""
    run = listed(reader, pipelineId=pipeline_id)[-1]
    assert list(run) == ["id", "pipelineId", "status", "trigger", "startedAt", "finishedAt", "durationSeconds"]
    assert (run["id"], run["status"], run["trigger"]) == (succeeded, "succeeded", "schedule")


# The record of a run.


def test_full_run_record_status_timing_row_counts_errors_and_trigger_metadata(run: Json) -> None:
    """All of it is there, and of this run."""
    assert run["status"] == "succeeded"
    assert run["startedAt"] < run["finishedAt"]
    assert run["durationSeconds"] > 0
    assert (run["metrics"]["rowsRead"], run["metrics"]["rowsWritten"]) == (7, 5)
    assert run["error"] is None
    assert run["trigger"] == {"type": "schedule", "scheduleId": "sch_01"}


@pytest.mark.parametrize("query", ["limit=5", "level=debug"])
def test_run_id(query: str, reader: httpx.Client) -> None:
    """The id in the path chooses the run; one that is none is not found."""
    assert reader.get(f"/api/runs/run_01j8k2m4?{query}").status_code == 404


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (DagsterRunStatus.STARTING, "queued"),
        (DagsterRunStatus.STARTED, "running"),
        (DagsterRunStatus.CANCELED, "canceled"),
    ],
)
def test_terminal_or_in_progress_state(
    made: DagsterRunStatus, status: str, reader: httpx.Client, instance: DagsterInstance
) -> None:
    """`status` is the state that the run is in now; only an ended one has an end."""
    run = reader.get(f"/api/runs/{in_state(instance, made)}").json()
    assert run["status"] == status
    assert run["finishedAt"] is None


def test_aggregated_counters_rows_read_written_bytes_cost_units(run: Json) -> None:
    """`metrics` has rows, bytes and cost units."""
    assert {"rowsRead", "rowsWritten", "bytesRead", "bytesWritten", "bytesShuffled", "costUnits"} <= set(run["metrics"])
    assert all(isinstance(value, int | float) for value in run["metrics"].values())


def test_error_present_when_status_is_failed_includes_message_and_optional_stack_reference(
    failed: str, reader: httpx.Client
) -> None:
    """The message is the failing node's own, and the reference leads to a stack."""
    error = reader.get(f"/api/runs/{failed}").json()["error"]
    assert error["message"] == "column 'amount' does not exist"
    assert "ValueError" in reader.get(error["stackRef"]).text


def test_example_response_of_the_record(run: Json, pipeline_id: str) -> None:
    """All fields of the example are there."""
    expected = ["id", "pipelineId", "pipelineName", "status", "trigger", "startedAt", "finishedAt", "durationSeconds"]
    assert {*expected, "metrics", "error"} <= set(run)
    assert (run["pipelineId"], run["pipelineName"]) == (pipeline_id, "crm_to_warehouse")


# The nodes of a run.


def test_per_node_execution_start_finish_times_state_retries_and_row_counts(
    succeeded: str, reader: httpx.Client
) -> None:
    """Each node has all of these."""
    answer = reader.get(f"/api/runs/{succeeded}/nodes").json()
    assert answer["runId"] == succeeded
    for node in answer["nodes"]:
        assert {"nodeId", "type", "status", "startedAt", "finishedAt", "metrics", "retries"} <= set(node)
        assert node["startedAt"] <= node["finishedAt"]
    source, _, sink = answer["nodes"]
    assert (source["metrics"]["rowsOut"], sink["metrics"]["rowsIn"], sink["retries"]) == (7, 5, 1)


# The logs of a run.


@pytest.mark.parametrize(
    ("accept", "begins"),
    [("application/json", b"{"), ("application/x-ndjson", b"{"), ("text/plain", b"20")],
)
def test_execution_logs_plain_text_chunks_json_lines_or_urls(
    accept: str, begins: bytes, succeeded: str, reader: httpx.Client
) -> None:
    """Logs come as the caller wants them; every form tells the same lines."""
    answer = reader.get(f"/api/runs/{succeeded}/logs", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith(accept)
    assert answer.content.startswith(begins)
    assert "Started read" in answer.text


def test_filter_to_a_single_nodes_log_stream(succeeded: str, reader: httpx.Client) -> None:
    """`nodeId` leaves only this node's lines."""
    lines = reader.get(f"/api/runs/{succeeded}/logs", params={"nodeId": "n_source"}).json()["lines"]
    assert {line["nodeId"] for line in lines} == {"n_source"}


def test_iso_timestamp_or_log_cursor_for_incremental_fetch(succeeded: str, reader: httpx.Client) -> None:
    """`since` gives what is new after a moment or a cursor."""
    path = f"/api/runs/{succeeded}/logs"
    everything = reader.get(path).json()["lines"]
    assert reader.get(path, params={"since": "2999-01-01T00:00:00Z"}).json()["lines"] == []
    page = reader.get(path, params={"limit": 2}).json()
    rest = reader.get(path, params={"since": page["nextCursor"]}).json()
    assert page["lines"] + rest["lines"] == everything


def test_example_response_structured_lines(succeeded: str, reader: httpx.Client) -> None:
    """The fields are those of the example, and the cursor looks like it."""
    answer = reader.get(f"/api/runs/{succeeded}/logs", params={"limit": 1}).json()
    assert list(answer) == ["runId", "lines", "nextCursor"]
    assert list(answer["lines"][0]) == ["ts", "level", "nodeId", "message"]
    assert answer["nextCursor"].startswith("crs_" + succeeded.removeprefix("run_"))


# Cancellation.


def curl(command: str, *, client: httpx.Client, run_id: str, key: str) -> Json:
    """Run the specification's command, as it stands but for host, key and run, and give the answer's body."""
    if shutil.which("curl") is None:
        subprocess.run(["apt-get", "install", "--yes", "--quiet", "curl"], check=True)
    host = str(client.base_url).rstrip("/")
    text = command.replace("https://api.planasonix.com", host).replace("plnx_live_xxxxxxxx", key)
    command = text.replace("run_01j9l3n5", run_id).strip() + " --silent --noproxy '*'"
    done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True)
    answer: Json = json.loads(done.stdout)
    return answer


def test_request_cancellation_of_a_running_or_queued_run(client: httpx.Client, database_url: str) -> None:
    """The example's request gets the example's answer, and a queued run is canceled."""
    run_id = client.post("/api/pipelines/pl_slow/run").json()["runId"]
    answer = curl(CURL, client=client, run_id=run_id, key=admin_key(database_url))
    assert list(answer) == ["id", "status", "message"]
    assert (answer["id"], answer["status"]) == (run_id, "cancel_requested")
    assert answer["message"].startswith("Cancellation accepted; workers ")
    assert client.get(f"/api/runs/{run_id}").json()["status"] == "canceled"


@pytest.mark.parametrize("status", [400, 409])
def test_completed_runs_return_409_or_400_depending_on_policy(
    status: int, reader_settings: ApiSettings, instance: DagsterInstance
) -> None:
    """The deployment's policy chooses the status; the body says how the run ended."""
    with serving(replace(reader_settings, cancel_finished_status=status)) as policed:
        answer = policed.delete(f"/api/runs/{in_state(instance, DagsterRunStatus.SUCCESS)}")
    assert answer.status_code == status
    assert answer.json()["error"]["details"] == [{"field": "status", "issue": "succeeded"}]


# The status reference.


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (DagsterRunStatus.NOT_STARTED, "queued"),  # Scheduled or manual run waiting for capacity
        (DagsterRunStatus.STARTED, "running"),  # Actively executing
        (DagsterRunStatus.SUCCESS, "succeeded"),  # All nodes completed without fatal errors
        (DagsterRunStatus.FAILURE, "failed"),  # One or more nodes failed or policy aborted the run
        (DagsterRunStatus.CANCELED, "canceled"),  # User or system canceled the run
    ],
)
def test_status_reference(made: DagsterRunStatus, status: str, reader: httpx.Client, instance: DagsterInstance) -> None:
    """Each state of Dagster's is told by the word of the reference."""
    assert reader.get(f"/api/runs/{in_state(instance, made)}").json()["status"] == status


def test_trigger_a_run_post_api_pipelines_id_run(client: httpx.Client) -> None:
    """`POST /api/pipelines/{id}/run` starts a run that these endpoints tell of."""
    run_id = client.post("/api/pipelines/pl_slow/run").json()["runId"]
    assert client.get(f"/api/runs/{run_id}").json()["trigger"]["type"] == "api"
    client.delete(f"/api/runs/{run_id}")
