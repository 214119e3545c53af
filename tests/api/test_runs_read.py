"""`GET /api/runs/{id}`, its nodes and stacks, statistics and the execution status of a pipeline."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.events import DagsterEvent, DagsterEventType, JobFailureData, RunFailureReason
from dagster._utils.error import serializable_error_info_from_exc_info
from pydantic import BaseModel

from api_adapter.runs.schemas import RunList, RunNodes
from api_adapter.settings import ApiSettings
from api_adapter.storage import open_storage
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.contract.metadata import MEMORY_WORDS
from planasonix_orchestrator.dagster_defs.interruption import RunTimeoutError
from tests.api import served
from tests.api.conftest import dagster_home, serving
from tests.api.making import execute, make_run
from tests.conftest import superuser


@pytest.fixture(scope="module")
def succeeded(instance: DagsterInstance) -> str:
    tags = {"planasonix/trigger": "schedule", "planasonix/schedule_id": "sch_01"}
    return encode_run_id(execute(served.crm_to_warehouse, instance=instance, tags=tags))


@pytest.fixture(scope="module")
def failed(instance: DagsterInstance) -> str:
    return encode_run_id(execute(served.failing, instance=instance))


def test_full_run_record(succeeded: str, reader: httpx.Client) -> None:
    """Full run record: status, timing, row counts, errors, and trigger metadata."""
    run = reader.get(f"/api/runs/{succeeded}").json()
    assert run["id"] == succeeded
    assert (run["pipelineId"], run["pipelineName"]) == ("pl_crm", "crm_to_warehouse")
    assert run["status"] == "succeeded"
    assert run["trigger"] == {"type": "schedule", "scheduleId": "sch_01"}
    assert run["queuedAt"] <= run["startedAt"] <= run["finishedAt"]
    assert run["durationSeconds"] > 0
    assert run["error"] is None


def test_metrics_are_aggregated_counters(succeeded: str, reader: httpx.Client) -> None:
    """Aggregated counters (rows read/written, bytes, cost units): sums over the nodes, but for the peak of memory."""
    assert reader.get(f"/api/runs/{succeeded}").json()["metrics"] == {
        "rowsRead": 7,
        "rowsWritten": 5,
        "bytesRead": 70,
        "bytesWritten": 50,
        "bytesShuffled": 11,
        "cpuSeconds": 1.75,
        "peakMemoryBytes": 4000,
        "costUnits": round(1.75 / 60, 6),
    }


def test_cost_units_are_weighed_as_the_deployment_says(succeeded: str, reader_settings: ApiSettings) -> None:
    """`costUnits` is the weighted sum of the metrics that the deployment has set weights for."""
    with serving(replace(reader_settings, cost_units={"rowsWritten": 2.0, "cpuSeconds": 4.0})) as client:
        assert client.get(f"/api/runs/{succeeded}").json()["metrics"]["costUnits"] == 2 * 5 + 4 * 1.75


def test_error_is_present_when_status_is_failed(failed: str, reader: httpx.Client) -> None:
    """Present when `status` is `failed`; includes message and optional stack reference, which can be fetched."""
    run = reader.get(f"/api/runs/{failed}").json()
    assert run["status"] == "failed"
    assert run["error"] == {
        "message": "column 'amount' does not exist",
        "nodeId": "n_bad",
        "code": "node_error",
        "stackRef": f"/api/runs/{failed}/stack?nodeId=n_bad",
    }
    stack = reader.get(run["error"]["stackRef"])
    assert stack.headers["content-type"].startswith("text/plain")
    assert "in fail" in stack.text
    assert "ValueError: column 'amount' does not exist" in stack.text


@pytest.mark.parametrize("query", ["", "?nodeId=n_source", "?nodeId=n_unknown"])
def test_a_stack_that_is_none_is_not_found(query: str, succeeded: str, reader: httpx.Client) -> None:
    """404 where neither run nor node has failed."""
    answer = reader.get(f"/api/runs/{succeeded}/stack{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "stack_not_found")


@pytest.mark.parametrize(
    ("message", "data", "code"),
    [
        ("The worker has gone", None, "run_error"),
        ("This run has been marked as failed from outside the execution context.", None, "worker_lost"),
        ("Detected run worker status FAILED", None, "worker_lost"),
        ("Exceeded maximum runtime of 5 seconds.", None, "timeout"),
        (f"The run's processes had 612 MB {MEMORY_WORDS} (600 MB), and were killed.", None, "out_of_memory"),
        ("Took too long to start", JobFailureData(None, RunFailureReason.START_TIMEOUT), "timeout"),
        ("It came twice", JobFailureData(None, RunFailureReason.RUN_WORKER_RESTART), "worker_lost"),
    ],
)
def test_a_run_that_failed_outside_its_nodes_says_why(
    message: str, data: JobFailureData | None, code: str, instance: DagsterInstance, reader: httpx.Client
) -> None:
    """A run without a failing node has a message and a code all the same, as Dagster's own words and reasons tell."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run, message=message, job_failure_data=data)
    error = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()["error"]
    assert (error["nodeId"], error["code"], error["stackRef"]) == (None, code, None)
    assert error["message"].startswith(message) or code == "worker_lost"


def test_a_run_out_of_time_says_so(instance: DagsterInstance, reader: httpx.Client) -> None:
    """Where no node has told it, the code is that of what our executor has raised."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    with pytest.raises(RunTimeoutError) as caught:
        raise RunTimeoutError(5)
    told = serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb))
    instance.report_run_failed(run, job_failure_data=JobFailureData(told, RunFailureReason.RUN_EXCEPTION))
    shown = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()["error"]
    assert (shown["nodeId"], shown["code"], shown["message"]) == (None, "timeout", str(caught.value))


def test_variables_are_told_and_secrets_masked(instance: DagsterInstance, reader: httpx.Client) -> None:
    """What the run was given as variables is visible, but not what speaks of a secret by its name."""
    given = {"day": "2025-03-01", "top": 3, "api_token": "plain", "dbPassword": "plain", "secret": None}

    @dg.job(resource_defs={"variables": dg.ResourceDefinition.hardcoded_resource(None)})
    def takes_anything() -> None:
        served.extract()

    run = instance.create_run_for_job(
        takes_anything,
        status=DagsterRunStatus.NOT_STARTED,
        run_config={"resources": {"variables": {"config": given}}},
    )
    variables = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()["variables"]
    assert variables == {"day": "2025-03-01", "top": 3, "api_token": "***", "dbPassword": "***", "secret": None}


def test_the_trigger_tells_all_that_applies(instance: DagsterInstance, reader: httpx.Client) -> None:
    """`trigger` is an object with the schedule, trigger, sensor, user and parent that it knows of."""
    parent = make_run(instance, status=DagsterRunStatus.FAILURE)
    tags = {
        "planasonix/trigger": "retry",
        "planasonix/trigger_id": "trg_1",
        "planasonix/user": "ada",
        "dagster/sensor_name": "files",
        "dagster/parent_run_id": parent.run_id,
    }
    run = make_run(instance, status=DagsterRunStatus.NOT_STARTED, tags=tags)
    instance.add_run_tags(run.run_id, {"planasonix/tags_of": run.run_id})
    told = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()
    parent_id = encode_run_id(parent.run_id)
    assert told["trigger"] == {
        "type": "retry",
        "triggerId": "trg_1",
        "sensor": "files",
        "user": "ada",
        "parentRunId": parent_id,
    }
    assert told["retryOf"] == parent_id


def test_a_run_that_dagster_starts_again_is_a_retry(instance: DagsterInstance, reader: httpx.Client) -> None:
    """A re-execution from the Dagster UI has its parent's tags; who started and canceled that one does not count."""
    parent = make_run(instance, status=DagsterRunStatus.CANCELED)
    tags = {
        "planasonix/trigger": "schedule",
        "planasonix/schedule_id": "sch_01",
        "planasonix/user": "ada",
        "planasonix/tags_of": parent.run_id,
        "planasonix/cancel_requested_at": "2025-03-27T02:00:00Z",
        "planasonix/cancel_requested_by": "ada",
        "planasonix/canceled_by": "superseded",
        "dagster/parent_run_id": parent.run_id,
    }
    pipeline_id = f"pl_{uuid4().hex}"
    run = make_run(instance, status=DagsterRunStatus.CANCELED, tags={**tags, "planasonix/pipeline_id": pipeline_id})
    told = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()
    assert told["trigger"] == {"type": "retry", "parentRunId": encode_run_id(parent.run_id)}
    assert (told["cancelRequestedAt"], told["cancelRequestedBy"], told["canceledBy"]) == (None, None, "user")
    for trigger, number in (("retry", 1), ("schedule", 0)):
        listed = reader.get("/api/runs", params={"pipelineId": pipeline_id, "trigger": trigger}).json()["data"]
        assert len(listed) == number


def test_a_run_and_what_it_has_started_name_each_other(instance: DagsterInstance, reader: httpx.Client) -> None:
    """The parent, also one that has ended long ago, lists its children; a child started again is none of its."""
    parent = make_run(instance, status=DagsterRunStatus.SUCCESS)
    parent_id = encode_run_id(parent.run_id)
    before = reader.get(f"/api/runs/{parent_id}")
    assert before.json()["triggeredRuns"] == []
    assert "upstreamRunId" not in before.json()["trigger"]
    tags = {"planasonix/trigger": "sensor", "planasonix/trigger_id": "trg_1", "planasonix/upstream_run": parent.run_id}
    children = [
        make_run(instance, status=DagsterRunStatus.SUCCESS, tags={**tags, "planasonix/pipeline_id": pipeline_id})
        for pipeline_id in ("pl_first", "pl_second")
    ]
    make_run(instance, status=DagsterRunStatus.SUCCESS, tags={**tags, "dagster/parent_run_id": children[0].run_id})
    after = reader.get(f"/api/runs/{parent_id}", headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert after.json()["triggeredRuns"] == [
        {"id": encode_run_id(child.run_id), "pipelineId": pipeline_id}
        for child, pipeline_id in zip(children, ("pl_first", "pl_second"), strict=True)
    ]
    child = reader.get(f"/api/runs/{encode_run_id(children[0].run_id)}").json()
    assert child["trigger"] == {"type": "sensor", "triggerId": "trg_1", "upstreamRunId": parent_id}


def test_nonsense_in_a_tag_does_no_harm(instance: DagsterInstance, reader: httpx.Client) -> None:
    """Tags that somebody wrote in the Dagster UI count only as far as they make sense, in lists as in detail."""
    tags = {f"tag_{number}": "x" * 200 for number in range(300)}
    tags |= {"planasonix/trigger": "magic", "planasonix/cancel_requested_at": "soon", "planasonix/canceled_by": "fate"}
    pipeline_id = f"pl_{uuid4().hex}"
    tags["planasonix/pipeline_id"] = pipeline_id
    run_id = encode_run_id(make_run(instance, status=DagsterRunStatus.CANCELED, tags=tags).run_id)
    told = reader.get(f"/api/runs/{run_id}").json()
    assert (told["trigger"], told["cancelRequestedAt"], told["canceledBy"]) == ({"type": "manual"}, None, "user")
    (listed,) = reader.get("/api/runs", params={"pipelineId": pipeline_id, "trigger": "manual"}).json()["data"]
    assert (listed["id"], listed["trigger"]) == (run_id, "manual")


@pytest.mark.parametrize(
    ("tags", "by"),
    [
        ({"planasonix/canceled_by": "superseded"}, "superseded"),
        ({"planasonix/canceled_by": "user"}, "user"),
        ({}, "user"),
    ],
)
def test_a_canceled_run_says_who_canceled_it(
    tags: dict[str, str], by: str, instance: DagsterInstance, reader: httpx.Client
) -> None:
    """User, system or superseded; without a word of ours it was somebody in the Dagster UI."""
    asked = {"planasonix/cancel_requested_at": "2999-03-27T02:00:00Z", "planasonix/cancel_requested_by": "ada"}
    run = make_run(instance, status=DagsterRunStatus.STARTED, tags={**tags, **(asked if tags else {})})
    instance.report_run_canceling(run)
    running = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()
    assert (running["status"], running["canceledBy"]) == ("running", None)
    assert running["cancelRequestedAt"] is not None
    instance.report_run_canceled(run)
    told = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()
    assert (told["status"], told["canceledBy"], told["error"]) == ("canceled", by, None)
    assert told["cancelRequestedBy"] == ("ada" if tags else None)
    assert (told["cancelRequestedAt"] == "2999-03-27T02:00:00Z") == bool(tags)


def test_a_run_that_dagster_canceled_by_itself_says_so(instance: DagsterInstance, reader: httpx.Client) -> None:
    """A cancellation by Dagster's run monitoring is the system's."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    instance.report_run_canceling(run, message="Canceling due to exceeding maximum runtime of 5 seconds.")
    instance.report_run_canceled(run)
    assert reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()["canceledBy"] == "system"


def test_nodes_have_times_state_retries_and_row_counts(succeeded: str, reader: httpx.Client) -> None:
    """Per-node execution: start/finish times, state, retries, and row counts."""
    answer = reader.get(f"/api/runs/{succeeded}/nodes").json()
    assert answer["runId"] == succeeded
    source, middle, sink = answer["nodes"]
    assert (source["nodeId"], source["type"], source["status"]) == ("n_source", "source.postgres", "succeeded")
    assert source["metrics"] == {"rowsOut": 7, "bytesRead": 70, "cpuSeconds": 1.25, "peakMemoryBytes": 4000}
    assert middle["nodeId"] == "keep-recent"
    assert sink["metrics"]["rowsIn"] == 5
    assert [node["retries"] for node in answer["nodes"]] == [0, 0, 1]
    for node in answer["nodes"]:
        assert node["startedAt"] <= node["finishedAt"]
        assert node["error"] is None


def test_attempts_tell_their_times_and_errors(succeeded: str, reader: httpx.Client) -> None:
    """Every attempt of a node is listed with its times, its status and why it failed."""
    sink = reader.get(f"/api/runs/{succeeded}/nodes").json()["nodes"][2]
    first, second = sink["attempts"]
    assert (first["attempt"], first["status"], second["attempt"], second["status"]) == (1, "failed", 2, "succeeded")
    assert first["error"] == {"message": "the warehouse hung up", "code": "node_error", "nodeId": None}
    assert second["error"] is None
    assert sink["startedAt"] == first["startedAt"] <= first["finishedAt"] <= second["startedAt"]
    assert second["finishedAt"] == sink["finishedAt"]


def test_nodes_that_never_started_are_there(failed: str, reader: httpx.Client) -> None:
    """Every node of the graph is listed, with what stopped it."""
    nodes = reader.get(f"/api/runs/{failed}/nodes").json()["nodes"]
    assert [(node["nodeId"], node["status"]) for node in nodes] == [
        ("n_source", "succeeded"),
        ("n_bad", "failed"),
        ("n_after", "skipped"),
    ]
    assert nodes[1]["error"] == {"message": "column 'amount' does not exist", "code": "node_error", "nodeId": None}
    assert nodes[2]["startedAt"] is None


@pytest.mark.parametrize("path", ["", "/nodes", "/stack"])
@pytest.mark.parametrize("run_id", ["run_01j8k2m4", "run_00000000000000000000000000", "x", "%00", "a%2Fb", "é"])
def test_an_unknown_run_is_not_found(run_id: str, path: str, reader: httpx.Client) -> None:
    """404, in the error shape, for every text that is not the id of a run."""
    answer = reader.get(f"/api/runs/{run_id}{path}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) >= {"code", "message", "details"}


def test_the_same_routes_answer_under_v1(succeeded: str, reader: httpx.Client) -> None:
    """The versioned base path gives the same answers."""
    for path in ("/api/runs?limit=3", f"/api/runs/{succeeded}", f"/api/runs/{succeeded}/nodes"):
        assert reader.get("/v1" + path).json() == reader.get(path).json()


def test_created_times_are_utc_whatever_the_databases_time_zone(tmp_path: Path, postgres_url: str) -> None:
    """`queuedAt` is right also where Postgres lives in another time zone."""
    with superuser(postgres_url) as cursor:
        cursor.execute("SELECT current_database()")
        (name,) = cursor.fetchone() or ("",)
        cursor.execute(f"ALTER DATABASE {name} SET timezone TO 'America/New_York'")
    before = datetime.now(UTC)
    with dagster_home(tmp_path, url=postgres_url) as instance:
        run = make_run(instance, status=DagsterRunStatus.NOT_STARTED)
        with open_storage(postgres_url) as storage:
            ours = storage.read_run(run.run_id)
    assert ours is not None
    assert before <= ours.queued_at <= datetime.now(UTC)


def test_lists_and_nodes_are_written_as_their_schemas_say(
    succeeded: str, failed: str, instance: DagsterInstance, reader: httpx.Client
) -> None:
    """What is written without models is, to the letter, what the models of the OpenAPI document would write."""
    live = encode_run_id(make_run(instance, status=DagsterRunStatus.STARTED).run_id)
    answers: list[tuple[str, type[BaseModel]]] = [("/api/runs?limit=20", RunList)]
    answers += [(f"/api/runs/{run_id}/nodes", RunNodes) for run_id in (succeeded, failed, live)]
    for path, model in answers:
        body = reader.get(path).content
        assert json.loads(model.model_validate_json(body).model_dump_json(by_alias=True)) == json.loads(body)


def test_clocks_that_differ_make_no_negative_time(instance: DagsterInstance, reader: httpx.Client) -> None:
    """A run that started after now, by the clock of another machine, has taken no time yet."""
    run = make_run(instance, status=DagsterRunStatus.NOT_STARTED, tags={"planasonix/pipeline_id": "pl_ahead"})
    later = datetime.now(UTC) + timedelta(hours=1)
    start = DagsterEvent(DagsterEventType.PIPELINE_START.value, run.job_name)
    instance.run_storage.handle_run_event(run.run_id, start, later)
    listed = reader.get("/api/runs", params={"pipelineId": "pl_ahead"}).json()["data"]
    told = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()
    assert [one["durationSeconds"] for one in (*listed, told)] == [0, 0]
    assert told["startedAt"] > told["queuedAt"]


def test_stats_count_by_status_and_day(instance: DagsterInstance, reader: httpx.Client) -> None:
    """Counts by status and day, failure rate and durations are those of the pipeline's runs in the range."""
    pipeline_id = f"pl_{uuid4().hex}"
    tags = {"planasonix/pipeline_id": pipeline_id}
    ids = [execute(served.crm_to_warehouse, instance=instance, tags=tags) for _ in range(3)]
    execute(served.failing, instance=instance, tags=tags)
    make_run(instance, status=DagsterRunStatus.NOT_STARTED, tags=tags)
    told = reader.get("/api/runs/stats", params={"pipelineId": pipeline_id}).json()
    counts = {"queued": 1, "running": 0, "succeeded": 3, "failed": 1, "canceled": 0}
    assert (told["total"], told["byStatus"], told["failureRate"]) == (5, counts, 0.25)
    assert sum(day["byStatus"]["succeeded"] for day in told["byDay"]) == 3
    assert all(len(day["day"]) == 10 for day in told["byDay"])
    durations = sorted(reader.get(f"/api/runs/{encode_run_id(run_id)}").json()["durationSeconds"] for run_id in ids)
    assert told["durationSeconds"]["p50"] == pytest.approx(durations[1], abs=0.002)
    assert durations[1] <= told["durationSeconds"]["p95"] <= durations[2]
    nothing = reader.get("/api/runs/stats", params={"pipelineId": pipeline_id, "dateRange": "..2020-01-01"}).json()
    assert (nothing["total"], nothing["failureRate"], nothing["durationSeconds"]) == (
        0,
        None,
        {"p50": None, "p95": None},
    )


def test_execution_status_is_of_the_run_in_flight_else_of_the_last(
    instance: DagsterInstance, reader: httpx.Client
) -> None:
    """A running run comes before a queued one, any of them before one that has ended."""
    pipeline_id = f"pl_{uuid4().hex}"
    tags = {"planasonix/pipeline_id": pipeline_id}

    def told() -> tuple[str, str, dict[str, int]]:
        answer = reader.get(f"/api/pipelines/{pipeline_id}/execution-status").json()
        assert answer["pipelineId"] == pipeline_id
        return answer["runId"], answer["status"], answer["progress"]

    last = execute(served.failing, instance=instance, tags=tags)
    assert told() == (encode_run_id(last), "failed", {"completedNodes": 3, "totalNodes": 3})
    running = make_run(instance, status=DagsterRunStatus.STARTED, tags=tags)
    make_run(instance, status=DagsterRunStatus.NOT_STARTED, tags=tags)
    make_run(instance, status=DagsterRunStatus.SUCCESS, tags=tags)
    assert told() == (encode_run_id(running.run_id), "running", {"completedNodes": 0, "totalNodes": 2})


def test_finished_runs_are_not_sent_twice(
    succeeded: str, failed: str, instance: DagsterInstance, reader: httpx.Client
) -> None:
    """A finished run and its nodes have an ETag that gives 304; it changes with the run, and a live run has none."""
    for path in (f"/api/runs/{succeeded}", f"/api/runs/{failed}/nodes"):
        answer = reader.get(path)
        assert "private" in answer.headers["cache-control"]
        again = reader.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert reader.get(path, headers={"If-None-Match": '"other"'}).json() == answer.json()
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    live = f"/api/runs/{encode_run_id(run.run_id)}"
    assert "etag" not in reader.get(live).headers
    instance.report_run_canceled(run)
    tag = reader.get(live).headers["etag"]
    instance.report_run_failed(run)  # as a worker may do that finishes late
    failed_answer = reader.get(live, headers={"If-None-Match": tag})
    assert failed_answer.json()["status"] == "failed"
    instance.add_run_tags(run.run_id, {"planasonix/environment_id": "env_1"})
    answer = reader.get(live, headers={"If-None-Match": failed_answer.headers["etag"]})
    assert answer.json()["environmentId"] == "env_1"
