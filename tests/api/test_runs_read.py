"""`GET /api/runs/{id}`, `/nodes` and `/logs`: a test per sentence of the seed."""

import json
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg2
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from api_adapter.storage import open_storage
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api import served
from tests.api.conftest import dagster_home
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
    """Aggregated counters (rows read/written, bytes)."""
    assert reader.get(f"/api/runs/{succeeded}").json()["metrics"] == {
        "rowsRead": 7,
        "rowsWritten": 5,
        "bytesRead": 70,
        "bytesWritten": 50,
        "bytesShuffled": 11,
    }


def test_error_is_present_when_status_is_failed(failed: str, reader: httpx.Client) -> None:
    """Present when `status` is `failed`; includes message."""
    run = reader.get(f"/api/runs/{failed}").json()
    assert run["status"] == "failed"
    assert run["error"] == {"message": "column 'amount' does not exist", "nodeId": "n_bad"}


def test_a_run_that_failed_outside_its_nodes_says_why(instance: DagsterInstance, reader: httpx.Client) -> None:
    """A worker that was lost has no failing node, but a message."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run, message="The worker has gone")
    error = reader.get(f"/api/runs/{encode_run_id(run.run_id)}").json()["error"]
    assert error == {"message": "The worker has gone", "nodeId": None}


def test_nodes_have_times_state_retries_and_row_counts(succeeded: str, reader: httpx.Client) -> None:
    """Per-node execution: start/finish times, state, retries, and row counts."""
    answer = reader.get(f"/api/runs/{succeeded}/nodes").json()
    assert answer["runId"] == succeeded
    source, middle, sink = answer["nodes"]
    assert (source["nodeId"], source["type"], source["status"]) == ("n_source", "source.postgres", "succeeded")
    assert source["metrics"] == {"rowsOut": 7, "bytesRead": 70}
    assert middle["nodeId"] == "keep-recent"
    assert sink["metrics"] == {"rowsIn": 5, "bytesWritten": 50}
    assert [node["retries"] for node in answer["nodes"]] == [0, 0, 1]
    for node in answer["nodes"]:
        assert node["startedAt"] <= node["finishedAt"]
        assert node["error"] is None


def test_nodes_that_never_started_are_there(failed: str, reader: httpx.Client) -> None:
    """Every node of the graph is listed, with what stopped it."""
    nodes = reader.get(f"/api/runs/{failed}/nodes").json()["nodes"]
    assert [(node["nodeId"], node["status"]) for node in nodes] == [
        ("n_source", "succeeded"),
        ("n_bad", "failed"),
        ("n_after", "skipped"),
    ]
    assert nodes[1]["error"] == {"message": "column 'amount' does not exist"}
    assert nodes[2]["startedAt"] is None


def test_logs_are_structured_lines(succeeded: str, reader: httpx.Client) -> None:
    """Each line has ts, level, nodeId and message: what nodes logged, and milestones in plain words."""
    answer = reader.get(f"/api/runs/{succeeded}/logs").json()
    assert set(answer) == {"runId", "lines", "nextCursor"}
    assert all(list(line) == ["ts", "level", "nodeId", "message"] for line in answer["lines"])
    told = [(line["level"], line["nodeId"], line["message"]) for line in answer["lines"]]
    assert told == [
        ("info", None, "Run started"),
        ("info", "n_source", "Node started"),
        ("info", "n_source", "Started read"),
        ("info", "n_source", "Node succeeded"),
        ("info", "keep-recent", "Node started"),
        ("info", "keep-recent", "Node succeeded"),
        ("info", "n_flaky", "Node started"),
        ("warning", "n_flaky", "Node failed and will be tried again: the warehouse hung up"),
        ("info", "n_flaky", "Node started again"),
        ("info", "n_flaky", "Node succeeded"),
        ("info", None, "Run succeeded"),
    ]


def test_node_id_filters_to_a_single_nodes_stream(succeeded: str, reader: httpx.Client) -> None:
    """Filter to a single node's log stream."""
    lines = reader.get(f"/api/runs/{succeeded}/logs", params={"nodeId": "keep-recent"}).json()["lines"]
    assert len(lines) == 2
    assert {line["nodeId"] for line in lines} == {"keep-recent"}


def test_since_takes_a_timestamp(succeeded: str, reader: httpx.Client) -> None:
    """ISO timestamp for incremental fetch."""
    run = reader.get(f"/api/runs/{succeeded}").json()
    path = f"/api/runs/{succeeded}/logs"
    everything = reader.get(path).json()["lines"]
    assert reader.get(path, params={"since": run["queuedAt"]}).json()["lines"] == everything
    assert reader.get(path, params={"since": "2999-01-01T00:00:00Z"}).json()["lines"] == []


@pytest.mark.parametrize("limit", [1, 2, 5, 11, 12])
def test_since_takes_a_log_cursor(limit: int, succeeded: str, reader: httpx.Client) -> None:
    """Log cursor for incremental fetch: nothing lost, nothing doubled, null when all is told."""
    path = f"/api/runs/{succeeded}/logs"
    everything = reader.get(path).json()
    assert everything["nextCursor"] is None
    lines: list[object] = []
    since = None
    while True:
        page = reader.get(path, params={"limit": limit, **({"since": since} if since else {})}).json()
        lines += page["lines"]
        since = page["nextCursor"]
        if since is None:
            break
        assert since.startswith(f"crs_{succeeded.removeprefix('run_')}_")
    assert lines == everything["lines"]


def test_level_debug_adds_the_noise(succeeded: str, reader: httpx.Client) -> None:
    """Below info there are users' own debug lines and what Dagster says to itself; `error` leaves only errors."""
    path = f"/api/runs/{succeeded}/logs"
    messages = [line["message"] for line in reader.get(path, params={"level": "debug"}).json()["lines"]]
    assert "Details of the read" in messages
    assert "Run succeeded" in messages
    assert any(message.startswith("Executing steps in process") for message in messages)
    assert reader.get(path, params={"level": "error"}).json()["lines"] == []


def test_a_log_event_that_becomes_visible_late_is_not_lost(
    instance: DagsterInstance, reader: httpx.Client, database_url: str
) -> None:
    """An event that commits after a later one was read comes with the next page, once."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    run_id = encode_run_id(run.run_id)
    early, late = psycopg2.connect(database_url), psycopg2.connect(database_url)
    try:
        log(late, run_id=run.run_id, message="written first, committed last")
        log(early, run_id=run.run_id, message="written last, committed first")
        early.commit()
        first = reader.get(f"/api/runs/{run_id}/logs").json()
        assert [line["message"] for line in first["lines"]] == ["written last, committed first"]
        late.commit()
        second = reader.get(f"/api/runs/{run_id}/logs", params={"since": first["nextCursor"]}).json()
        assert [line["message"] for line in second["lines"]] == ["written first, committed last"]
        third = reader.get(f"/api/runs/{run_id}/logs", params={"since": second["nextCursor"]}).json()
        assert third["lines"] == []
        assert third["nextCursor"] is not None
    finally:
        early.close()
        late.close()


def log(connection: psycopg2.extensions.connection, *, run_id: str, message: str) -> None:
    """Write a log line of a run as Dagster would, and leave the transaction open."""
    event = json.dumps({"__class__": "EventLogEntry", "level": 20, "timestamp": 1.5, "user_message": message})
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO event_logs (run_id, event, timestamp) VALUES (%s, %s, to_timestamp(1.5))", (run_id, event)
        )


@pytest.mark.parametrize("since", ["yesterday", "crs_", "crs_01j8k2m4_0042", "crs_x_12", ""])
def test_a_since_that_is_none_is_refused(since: str, succeeded: str, reader: httpx.Client) -> None:
    """A cursor of another run, or a text that is neither cursor nor timestamp, gives 400."""
    answer = reader.get(f"/api/runs/{succeeded}/logs", params={"since": since})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["field"] == "since"


@pytest.mark.parametrize("path", ["", "/nodes", "/logs"])
@pytest.mark.parametrize("run_id", ["run_01j8k2m4", "run_00000000000000000000000000", "x", "%00", "a%2Fb", "é"])
def test_an_unknown_run_is_not_found(run_id: str, path: str, reader: httpx.Client) -> None:
    """404, in the error shape, for every text that is not the id of a run."""
    answer = reader.get(f"/api/runs/{run_id}{path}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"code", "message", "details"}


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
