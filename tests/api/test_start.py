"""Starting runs: which nodes, in which environment, how urgently; once, however often; and waiting for the end."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.storage.dagster_run import DagsterRun

from api_adapter.control.code_location import DagsterConnection
from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from planasonix_orchestrator.contract.resolution import environment_named
from planasonix_orchestrator.contract.starting import run_id_of_key
from tests.api.conftest import dagster_home, serving
from tests.api.waiting import wait_until
from tests.conftest import open_instance, superuser

pytestmark = pytest.mark.stack

CRM = "/api/pipelines/pl_crm/run"
BRANCHES = "/api/pipelines/pl_branches/run"


@pytest.fixture(scope="module")
def connection(settings: ApiSettings) -> Iterator[DagsterConnection]:
    connection = DagsterConnection(settings)
    yield connection
    connection.close()


def run_of(instance: DagsterInstance, answer: httpx.Response) -> DagsterRun:
    assert answer.status_code == 202, answer.text
    run = instance.get_run_by_id(decode_run_id(answer.json()["runId"]))
    assert run is not None
    return run


def fields(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 400, answer.text
    return [detail["field"] for detail in answer.json()["error"]["details"]]


def launch(connection: DagsterConnection, run_id: str) -> None:
    """Launch a queued run, as Dagster's daemon does."""
    connection.instance().launch_run(decode_run_id(run_id), connection.loaded().workspace)


def test_the_answer_says_where_the_run_is(client: httpx.Client) -> None:
    """`Location` leads to it, and it is all there: queued, with its event, and without having waited for a launch."""
    answer = client.post(CRM)
    run = client.get(answer.headers["Location"]).json()
    assert (run["id"], run["status"], run["queuedAt"]) == (answer.json()["runId"], "queued", answer.json()["queuedAt"])
    lines = client.get(f"{answer.headers['Location']}/logs").json()["lines"]
    assert [(line["message"], line["ts"]) for line in lines] == [("Run queued", run["queuedAt"])]


def test_a_run_is_as_dagster_would_have_made_it(
    client: httpx.Client, instance: DagsterInstance, connection: DagsterConnection
) -> None:
    """Beside one that Dagster itself has created and submitted: the same row, tags and event, but for ids and times."""
    ours = run_of(instance, client.post(CRM))
    theirs = instance.create_run(
        **{
            **{name: getattr(ours, name) for name in ("job_name", "run_config", "tags", "step_keys_to_execute")},
            **{name: getattr(ours, name) for name in ("remote_job_origin", "job_code_origin")},
            **dict.fromkeys(("run_id", "root_run_id", "parent_run_id", "asset_selection", "asset_check_selection")),
            **dict.fromkeys(("resolved_op_selection", "op_selection", "parent_job_snapshot")),
            "status": DagsterRunStatus.NOT_STARTED,
            "job_snapshot": instance.get_job_snapshot(str(ours.job_snapshot_id)),
            "execution_plan_snapshot": instance.get_execution_plan_snapshot(str(ours.execution_plan_snapshot_id)),
            "asset_graph": connection.loaded().workspace.asset_graph,
        }
    )
    instance.submit_run(theirs.run_id, connection.loaded().workspace)
    submitted = instance.get_run_by_id(theirs.run_id)
    assert submitted is not None
    assert ours._replace(run_id="") == submitted._replace(run_id="")
    assert ours.tags_for_storage() == submitted.tags_for_storage()
    rows = [instance.get_run_record_by_id(run.run_id) for run in (ours, submitted)]
    assert all(row is not None and row.start_time is None and row.end_time is None for row in rows)
    events = [instance.all_logs(run.run_id) for run in (ours, submitted)]
    assert len(events[0]) == len(events[1]) == 1
    assert events[0][0]._replace(run_id="", timestamp=0.0) == events[1][0]._replace(run_id="", timestamp=0.0)


def test_every_variable_is_visible_on_the_run(client: httpx.Client) -> None:
    """Those that nobody has set too: as what the environment says, else the pipeline."""
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 10),
        ({"environmentId": "env_test"}, 7),
        ({"variables": {"top": 3}}, 3),
        ({"environmentId": "env_test", "variables": {"top": 3}}, 3),
    ]
    for body, top in cases:
        run = client.get(client.post(CRM, json=body).headers["Location"]).json()
        assert run["variables"] == {"day": "2025-01-01", "top": top}
        assert run["environmentId"] == body.get("environmentId")


def test_a_run_knows_its_environment(client: httpx.Client, instance: DagsterInstance) -> None:
    """It is in the run's config, where the run looks for it, and among its tags."""
    run = run_of(instance, client.post(CRM, json={"environmentId": "env_prod"}))
    assert environment_named(run.run_config) == "env_prod"
    assert run.tags[tags.ENVIRONMENT_ID] == "env_prod"


def test_environments_that_can_not_be_had(client: httpx.Client, instance: DagsterInstance) -> None:
    """400 for one that is not there, 409 for one that has problems; a wrong value of one names the variable."""
    before = instance.get_runs_count()
    assert fields(client.post(CRM, json={"environmentId": "env_none"})) == ["environmentId"]
    assert fields(client.post(CRM, json={"environmentId": "env_odd"})) == ["variables.top"]
    answer = client.post(CRM, json={"environmentId": "env_faulty"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "environment_broken")
    assert instance.get_runs_count() == before


def test_a_run_of_some_nodes_takes_what_they_need(client: httpx.Client, instance: DagsterInstance) -> None:
    """Upstream nodes run too, the others are left out, and the list of nodes says so."""
    answer = client.post(BRANCHES, json={"nodes": ["n_keep"]})
    run = run_of(instance, answer)
    assert run.step_keys_to_execute == ["n_left", "n_keep"]
    nodes = client.get(f"{answer.headers['Location']}/nodes").json()["nodes"]
    assert {node["nodeId"]: node["status"] for node in nodes} == {
        "n_left": "queued",
        "n_keep": "pending",
        "n_sink": "skipped",
        "n_right": "skipped",
        "n_fragile": "skipped",
        "n_after": "skipped",
    }
    everything = run_of(instance, client.post(BRANCHES, json={"nodes": ["n_sink", "n_after", "n_sink"]}))
    whole = run_of(instance, client.post(BRANCHES))
    assert everything.step_keys_to_execute == whole.step_keys_to_execute


def test_a_run_of_some_nodes_runs_them(client: httpx.Client, connection: DagsterConnection) -> None:
    """Executed by Dagster's own parts: the chosen ones succeed, and so does the run."""
    answer = client.post(BRANCHES, json={"nodes": ["n_keep"]}).json()
    launch(connection, answer["runId"])
    path = f"/api/runs/{answer['runId']}"
    wait_until(lambda: client.get(path).json()["status"] == "succeeded", seconds=60)
    statuses = Counter(node["status"] for node in client.get(f"{path}/nodes").json()["nodes"])
    assert statuses == {"succeeded": 2, "skipped": 4}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"nodes": ["n_left", "n_lost", "n_gone"]}, ["nodes.1", "nodes.2"]),
        ({"nodes": []}, ["nodes"]),
        ({"nodes": "n_left"}, ["nodes"]),
        ({"nodes": [1]}, ["nodes.0"]),
        ({"priority": "high"}, ["priority"]),
        ({"priority": 1.5}, ["priority"]),
        ({"priority": True}, ["priority"]),
        ({"priority": 10**7}, ["priority"]),
        ({"prio": 1}, ["prio"]),
    ],
)
def test_what_can_not_be_understood_starts_nothing(
    body: dict[str, Any], expected: list[str], client: httpx.Client, instance: DagsterInstance
) -> None:
    """400, with each field that is wrong."""
    before = instance.get_runs_count()
    assert fields(client.post(BRANCHES, json=body)) == expected
    assert instance.get_runs_count() == before


def test_a_priority_is_dagsters(client: httpx.Client, instance: DagsterInstance) -> None:
    """Whichever queue there is reads it from Dagster's tag."""
    assert run_of(instance, client.post(CRM, json={"priority": -3})).tags["dagster/priority"] == "-3"
    assert "dagster/priority" not in run_of(instance, client.post(CRM)).tags


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_a_key_means_one_run(client: httpx.Client, instance: DagsterInstance) -> None:
    """Sent again, the same request gets the same run, and is told so; another pipeline's key is another key."""
    body = {"variables": {"top": 3}, "nodes": None}
    first = client.post(CRM, json=body, headers=keyed("nightly 2025-03-27"))
    again = client.post(CRM, json={"variables": {"top": 3}}, headers=keyed("nightly 2025-03-27"))
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["Location"] == first.headers["Location"]
    other = client.post(BRANCHES, headers=keyed("nightly 2025-03-27"))
    assert run_of(instance, other).run_id != run_of(instance, first).run_id


def test_a_key_stands_for_one_body(client: httpx.Client, instance: DagsterInstance) -> None:
    """Another body with the same key is a conflict, whatever is in it, and starts nothing."""
    client.post(CRM, json={"variables": {"top": 3}}, headers=keyed("k-body"))
    before = instance.get_runs_count()
    for body in ({"variables": {"top": 4}}, {}, {"variables": {"top": "three"}}, {"environmentId": "env_prod"}):
        answer = client.post(CRM, json=body, headers=keyed("k-body"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")
        assert answer.json()["error"]["details"][0]["field"] == "Idempotency-Key"
    assert instance.get_runs_count() == before


def test_a_key_that_started_nothing_is_free(client: httpx.Client) -> None:
    """A refused request does not use its key up."""
    assert client.post(CRM, json={"variables": {"top": "three"}}, headers=keyed("k-free")).status_code == 400
    answer = client.post(CRM, json={"variables": {"top": 3}}, headers=keyed("k-free"))
    assert answer.status_code == 202
    assert "Idempotent-Replayed" not in answer.headers


def test_a_replay_tells_where_the_run_has_come(client: httpx.Client, instance: DagsterInstance) -> None:
    """The same run, with the status that it has by now."""
    run = run_of(instance, client.post(CRM, headers=keyed("k-later")))
    instance.report_run_canceled(run)
    again = client.post(CRM, headers=keyed("k-later"))
    assert (again.status_code, again.json()["status"]) == (202, "canceled")


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve", "tab\there"])
def test_keys_are_printable_and_not_too_long(key: str, client: httpx.Client) -> None:
    """Anything else is a wrong request."""
    assert fields(client.post(CRM, headers=[(b"Idempotency-Key", key.encode())])) == ["Idempotency-Key"]


def test_parallel_requests_of_one_key_start_one_run(
    client: httpx.Client, settings: ApiSettings, instance: DagsterInstance
) -> None:
    """By many at once, in two processes' worth of services: one run, one event, and one answer that is no replay."""
    with serving(settings) as second, ThreadPoolExecutor(20) as pool:
        for attempt in range(3):
            headers = keyed(f"k-parallel-{attempt}")
            sent = [pool.submit(one.post, CRM, headers=headers) for one in (client, second) * 10]
            answers = [each.result() for each in sent]
            assert {answer.status_code for answer in answers} == {202}
            (run_id,) = {answer.json()["runId"] for answer in answers}
            assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
            events = instance.all_logs(decode_run_id(run_id))
            assert [entry.dagster_event_type for entry in events] == [DagsterEventType.PIPELINE_ENQUEUED]


@contextmanager
def home_with_coordinator(folder: Path, *, url: str) -> Iterator[DagsterInstance]:
    """A Dagster whose coordinator must be told of each run."""
    with dagster_home(folder, url=url):
        text = (folder / "dagster.yaml").read_text()
        text = text.replace("dagster._core.run_coordinator", "tests.api.launchers")
        (folder / "dagster.yaml").write_text(text.replace("QueuedRunCoordinator", "OtherCoordinator"))
    with open_instance(folder) as instance:
        yield instance


def test_another_coordinator_is_told_once(settings: ApiSettings, dagster_url: str, tmp_path: Path) -> None:
    """A coordinator of any kind gets each run, with parallel requests of one key too."""
    own = replace(settings, postgres_url=dagster_url, dagster_home=str(tmp_path))
    with home_with_coordinator(tmp_path, url=dagster_url) as instance, serving(own) as client:
        with ThreadPoolExecutor(10) as pool:
            sent = [pool.submit(client.post, CRM, headers=keyed("k-told")) for _ in range(10)]
            (run_id,) = {each.result().json()["runId"] for each in sent}
        run = instance.get_run_by_id(decode_run_id(run_id))
        assert run is not None
        assert run.status is DagsterRunStatus.QUEUED
        assert len(instance.all_logs(run.run_id)) == 1


def test_a_run_that_was_left_before_the_queue_is_queued_by_a_replay(
    settings: ApiSettings, dagster_url: str, tmp_path: Path
) -> None:
    """As a crash between creating and queueing leaves it; who asks again gets that run, and it will run."""
    own = replace(settings, postgres_url=dagster_url, dagster_home=str(tmp_path))
    with home_with_coordinator(tmp_path, url=dagster_url) as instance, serving(own) as client:
        run_id = client.post(CRM, headers=keyed("k-crash")).json()["runId"]
        with superuser(dagster_url) as cursor:
            cursor.execute("UPDATE runs SET status = 'NOT_STARTED'")
            cursor.execute("DELETE FROM event_logs")
        again = client.post(CRM, headers=keyed("k-crash"))
        assert (again.json()["runId"], again.headers["Idempotent-Replayed"]) == (run_id, "true")
        run = instance.get_run_by_id(decode_run_id(run_id))
        assert run is not None
        assert run.status is DagsterRunStatus.QUEUED
        assert len(instance.all_logs(run.run_id)) == 1


def test_a_canceled_run_is_not_queued_by_a_replay(settings: ApiSettings, dagster_url: str, tmp_path: Path) -> None:
    """What was canceled before it was queued stays so."""
    own = replace(settings, postgres_url=dagster_url, dagster_home=str(tmp_path))
    with home_with_coordinator(tmp_path, url=dagster_url), serving(own) as client:
        run_id = client.post(CRM, headers=keyed("k-gone")).json()["runId"]
        with superuser(dagster_url) as cursor:
            cursor.execute("UPDATE runs SET status = 'NOT_STARTED'")
        client.delete(f"/api/runs/{run_id}")
        assert client.post(CRM, headers=keyed("k-gone")).json()["status"] == "canceled"


def test_the_id_of_a_keyed_run_follows_from_the_key(client: httpx.Client) -> None:
    """So that no table of keys is needed, and a key is kept as long as its run."""
    answer = client.post(CRM, headers=keyed("k-id"))
    assert answer.json()["runId"] == encode_run_id(run_id_of_key("pl_crm", "k-id"))


def test_snapshots_that_were_lost_are_stored_again(settings: ApiSettings, dagster_url: str, tmp_path: Path) -> None:
    """As when Dagster's database was replaced under the running service: the next start just works."""
    own = replace(settings, postgres_url=dagster_url, dagster_home=str(tmp_path))
    with dagster_home(tmp_path, url=dagster_url) as instance, serving(own) as client:
        assert client.post(CRM).status_code == 202
        with superuser(dagster_url) as cursor:
            cursor.execute("DELETE FROM runs")
            cursor.execute("DELETE FROM snapshots")
        run = run_of(instance, client.post(CRM))
        assert instance.has_job_snapshot(str(run.job_snapshot_id))


def test_who_waits_gets_the_run_when_it_has_ended(client: httpx.Client, connection: DagsterConnection) -> None:
    """200 with all of the run, as soon as it has ended."""
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.post, CRM, params={"wait": 60}, headers=keyed("k-wait"))
        run_id = encode_run_id(run_id_of_key("pl_crm", "k-wait"))
        wait_until(lambda: client.get(f"/api/runs/{run_id}").status_code == 200, seconds=20)
        launch(connection, run_id)
        answer = waiting.result()
    assert answer.status_code == 200
    assert answer.json() == client.get(f"/api/runs/{run_id}").json()
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["Location"] == f"/api/runs/{run_id}"
    finished = client.post(CRM, params={"wait": 60}, headers=keyed("k-wait"))
    assert (finished.status_code, finished.headers["Idempotent-Replayed"]) == (200, "true")


def test_who_waits_is_told_when_the_time_is_over(client: httpx.Client) -> None:
    """202 with the run as far as it has come; nobody waits who does not say so, or for no time."""
    began = time.monotonic()
    answer = client.post(CRM, params={"wait": 0.3})
    assert 0.3 <= time.monotonic() - began < 10
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert client.post(CRM, params={"wait": 0}).status_code == 202
    for wait in ("-1", "61", "soon", "nan", "inf"):
        assert fields(client.post(CRM, params={"wait": wait})) == ["wait"]


def test_who_waits_holds_no_thread(client: httpx.Client, instance: DagsterInstance) -> None:
    """More wait than there are threads for requests, and others are answered all the same."""
    with ThreadPoolExecutor(50) as pool:
        limits = httpx.Limits(max_connections=100)
        with httpx.Client(base_url=client.base_url, headers=client.headers, timeout=60, limits=limits) as many:
            waiting = [pool.submit(many.post, CRM, params={"wait": 30}, headers=keyed(f"k-{n}")) for n in range(50)]
            ids = [run_id_of_key("pl_crm", f"k-{number}") for number in range(50)]
            wait_until(lambda: all(instance.has_run(run_id) for run_id in ids), seconds=30)
            began = time.monotonic()
            assert client.get("/api/runs", params={"limit": 1}).status_code == 200
            assert time.monotonic() - began < 5
            for run_id in ids:
                run = instance.get_run_by_id(run_id)
                assert run is not None
                instance.report_run_canceled(run)
            answers = [each.result() for each in waiting]
    assert {(answer.status_code, answer.json()["status"]) for answer in answers} == {(200, "canceled")}


def test_who_waits_counts_as_a_stream(settings: ApiSettings, instance: DagsterInstance) -> None:
    """Beyond the budget nothing is started; who does not wait is not concerned."""
    with serving(replace(settings, streams_per_key=1)) as client, ThreadPoolExecutor() as pool:
        first = pool.submit(client.post, CRM, params={"wait": 20}, headers=keyed("k-stream"))
        run_id = run_id_of_key("pl_crm", "k-stream")
        wait_until(lambda: instance.has_run(run_id), seconds=20)
        before = instance.get_runs_count()
        assert client.post(CRM, params={"wait": 20}).status_code == 429
        assert instance.get_runs_count() == before
        assert client.post(CRM).status_code == 202
        run = instance.get_run_by_id(run_id)
        assert run is not None
        instance.report_run_canceled(run)
        assert first.result().status_code == 200


def test_the_plan_of_a_run_does_not_depend_on_its_config(client: httpx.Client, instance: DagsterInstance) -> None:
    """Which is why it is asked for only once."""
    plans = {
        run_of(instance, client.post(CRM, json={"variables": {"top": top}})).execution_plan_snapshot_id
        for top in range(3)
    }
    assert len(plans) == 1


def test_what_is_sent_in_the_body_is_json(client: httpx.Client) -> None:
    """An idempotency key does not change what a body must be."""
    headers = {"Content-Type": "application/json", **keyed("k-json")}
    assert client.post(CRM, content=b"{", headers=headers).status_code == 400
    assert client.post(CRM, content=json.dumps({"variables": {}}), headers=headers).status_code == 202
