"""Retrying runs: what is run again and what is reused, once at a time, and what can't be retried."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.dagster_run import DagsterRun

from api_adapter.control.code_location import DagsterConnection
from api_adapter.control.selection import unchanged_nodes
from api_adapter.records import AuditFilter, Scope, open_records
from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from tests.api.conftest import serving
from tests.api.credentials import bearer, make_key
from tests.api.making import make_run
from tests.api.served import node
from tests.api.waiting import wait_until
from tests.conftest import superuser

pytestmark = pytest.mark.stack

KEPT = ["n_left", "n_keep", "n_sink", "n_right"]
LEFT = ["n_fragile", "n_after"]


@pytest.fixture(scope="module")
def connection(settings: ApiSettings) -> Iterator[DagsterConnection]:
    connection = DagsterConnection(settings)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def failed(client: httpx.Client, connection: DagsterConnection) -> str:
    """A run of `two_branches` that has failed, as it does: four nodes of six have succeeded."""
    body = {"variables": {"day": "2025-03-27"}, "environmentId": "env_prod", "priority": 4}
    return ended(client, connection, client.post("/api/pipelines/pl_branches/run", json=body), status="failed")


@pytest.fixture
def parent(failed: str, instance: DagsterInstance) -> str:
    """The same, without retries."""
    parent_id = decode_run_id(failed)
    group = instance.get_run_group(parent_id)
    for run in group[1] if group else ():
        if run.run_id != parent_id:
            instance.delete_run(run.run_id)
    return failed


def ended(client: httpx.Client, connection: DagsterConnection, answer: httpx.Response, *, status: str) -> str:
    """Launch a run that was started, as Dagster's daemon does, and return its id when it has ended."""
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["runId"]
    connection.instance().launch_run(decode_run_id(run_id), connection.loaded().workspace)
    wait_until(lambda: client.get(f"/api/runs/{run_id}").json()["finishedAt"] is not None, seconds=60)
    assert client.get(f"/api/runs/{run_id}").json()["status"] == status
    return run_id


def retry(client: httpx.Client, run_id: str, **options: Any) -> httpx.Response:
    return client.post(f"/api/runs/{run_id}/retry", **options)


def run_of(instance: DagsterInstance, answer: httpx.Response) -> DagsterRun:
    assert answer.status_code == 202, answer.text
    run = instance.get_run_by_id(decode_run_id(answer.json()["runId"]))
    assert run is not None
    return run


def nodes_of(client: httpx.Client, run_id: str) -> dict[str, dict[str, Any]]:
    return {one["nodeId"]: one for one in client.get(f"/api/runs/{run_id}/nodes").json()["nodes"]}


def refused(answer: httpx.Response, code: str) -> dict[str, str]:
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, code), answer.text
    (detail,) = answer.json()["error"]["details"]
    return {detail["field"]: detail["issue"]}


def set_status(database_url: str, run_id: str, status: str) -> None:
    with superuser(database_url) as cursor:
        cursor.execute("UPDATE runs SET status = %s WHERE run_id = %s", (status, decode_run_id(run_id)))


def test_a_retry_runs_what_was_left_undone(
    parent: str, client: httpx.Client, instance: DagsterInstance, connection: DagsterConnection
) -> None:
    """The failed node and those that wait for it; the rest is reused, and shown with what it had done then."""
    answer = retry(client, parent)
    assert list(answer.json()) == ["runId", "pipelineId", "status", "queuedAt"]
    assert (answer.json()["pipelineId"], answer.json()["status"]) == ("pl_branches", "queued")
    run_id = answer.json()["runId"]
    assert answer.headers["Location"] == f"/api/runs/{run_id}"
    detail = client.get(f"/api/runs/{run_id}").json()
    assert detail["retryOf"] == parent
    assert detail["trigger"] == {"type": "retry", "user": "tests", "parentRunId": parent}
    assert (detail["variables"]["day"], detail["environmentId"]) == ("2025-03-27", "env_prod")
    before, queued = nodes_of(client, parent), nodes_of(client, run_id)
    for name in KEPT:
        assert queued[name] == {**before[name], "reusedFrom": parent}
    assert [(queued[name]["status"], queued[name]["reusedFrom"]) for name in LEFT] == [
        ("queued", None),
        ("pending", None),
    ]

    ended(client, connection, answer, status="succeeded")
    after = nodes_of(client, run_id)
    assert [after[name]["reusedFrom"] for name in (*KEPT, *LEFT)] == [parent] * 4 + [None] * 2
    assert {one["status"] for one in after.values()} == {"succeeded"}
    started = {entry.step_key for entry in instance.all_logs(decode_run_id(run_id)) if entry.step_key}
    assert started == set(LEFT)
    assert before["n_left"]["metrics"]["rowsOut"] == 3
    assert client.get(f"/api/runs/{run_id}").json()["metrics"]["rowsRead"] == 0


def test_dagster_knows_the_parent(parent: str, client: httpx.Client, instance: DagsterInstance) -> None:
    """Its own fields and tags name parent and root, so that its UI shows them as one group; urgency is inherited."""
    run = run_of(instance, retry(client, parent))
    parent_id = decode_run_id(parent)
    assert (run.parent_run_id, run.root_run_id) == (parent_id, parent_id)
    assert (run.tags["dagster/parent_run_id"], run.tags["dagster/root_run_id"]) == (parent_id, parent_id)
    assert (run.tags[tags.REUSED_FROM], run.tags["dagster/priority"]) == (parent_id, "4")
    group = instance.get_run_group(parent_id)
    assert group is not None
    assert {one.run_id for one in group[1]} == {parent_id, run.run_id}


def test_a_retry_of_a_retry_reuses_what_that_one_reused(
    parent: str, client: httpx.Client, instance: DagsterInstance
) -> None:
    """A canceled one can be retried too; each node says which run had really run it."""
    first = retry(client, parent).json()["runId"]
    client.delete(f"/api/runs/{first}")
    answer = retry(client, first)
    run = run_of(instance, answer)
    assert run.step_keys_to_execute == LEFT
    assert (run.parent_run_id, run.root_run_id) == (decode_run_id(first), decode_run_id(parent))
    nodes = nodes_of(client, answer.json()["runId"])
    assert [nodes[name]["reusedFrom"] for name in (*KEPT, *LEFT)] == [parent] * 4 + [None] * 2


def test_what_is_reused_is_gone_with_the_run_that_had_it(
    parent: str, client: httpx.Client, instance: DagsterInstance
) -> None:
    """Of a parent that was deleted nothing is known; the retry is told of without it."""
    first = retry(client, parent).json()["runId"]
    client.delete(f"/api/runs/{first}")
    second = retry(client, first).json()["runId"]
    instance.delete_run(decode_run_id(first))
    nodes = nodes_of(client, second)
    assert [(nodes[name]["status"], nodes[name]["reusedFrom"]) for name in KEPT] == [("skipped", None)] * 4


def test_a_retry_from_the_start_runs_everything(parent: str, client: httpx.Client, instance: DagsterInstance) -> None:
    """All that the parent was to run, and nothing is reused."""
    answer = retry(client, parent, json={"fromFailure": False})
    assert set(run_of(instance, answer).step_keys_to_execute or ()) == {*KEPT, *LEFT}
    assert {one["reusedFrom"] for one in nodes_of(client, answer.json()["runId"]).values()} == {None}


def test_a_retry_of_some_nodes_stays_with_them(
    client: httpx.Client, instance: DagsterInstance, connection: DagsterConnection
) -> None:
    """What the parent had left out is left out again."""
    answer = client.post("/api/pipelines/pl_branches/run", json={"nodes": ["n_fragile"]})
    parent = ended(client, connection, answer, status="failed")
    again = retry(client, parent)
    assert run_of(instance, again).step_keys_to_execute == ["n_fragile"]
    nodes = nodes_of(client, again.json()["runId"])
    assert (nodes["n_right"]["reusedFrom"], nodes["n_left"]["status"]) == (parent, "skipped")
    client.delete(f"/api/runs/{again.json()['runId']}")
    whole = retry(client, parent, json={"fromFailure": False})
    assert run_of(instance, whole).step_keys_to_execute == ["n_right", "n_fragile"]


def test_two_at_once_give_one_retry(parent: str, client: httpx.Client, settings: ApiSettings) -> None:
    """However many ask, in several processes' worth of services; who comes later is told so."""
    with serving(settings) as second, ThreadPoolExecutor(10) as pool:
        answers = [each.result() for each in [pool.submit(retry, one, parent) for one in (client, second) * 5]]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["runId"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1


def test_another_retry_must_wait_for_the_first(parent: str, client: httpx.Client) -> None:
    """While one goes on, asking for something else is a conflict that names it; afterwards there can be another."""
    first = retry(client, parent).json()["runId"]
    for options in ({"json": {"fromFailure": False}}, {"headers": {"Idempotency-Key": "k-other"}}):
        assert refused(retry(client, parent, **options), "retry_under_way") == {"runId": first}
    client.delete(f"/api/runs/{first}")
    second = retry(client, parent)
    assert second.status_code == 202
    assert second.json()["runId"] != first


def test_retries_that_were_deleted_do_not_come_back(
    parent: str, client: httpx.Client, instance: DagsterInstance
) -> None:
    """The next retry is a new run, also where an earlier one is no longer there."""
    made = []
    for _ in range(3):
        made.append(retry(client, parent).json()["runId"])
        client.delete(f"/api/runs/{made[-1]}")
    instance.delete_run(decode_run_id(made[0]))
    again = retry(client, parent)
    assert again.json()["runId"] not in made[1:]
    assert again.json()["status"] == "queued"


def test_a_key_means_one_retry(parent: str, client: httpx.Client) -> None:
    """Sent again it is the same one, even when that has ended; with another body it is a conflict."""
    headers = {"Idempotency-Key": "k-retry"}
    first = retry(client, parent, headers=headers)
    client.delete(f"/api/runs/{first.json()['runId']}")
    again = retry(client, parent, headers=headers)
    assert (again.json()["runId"], again.json()["status"]) == (first.json()["runId"], "canceled")
    assert again.headers["Idempotent-Replayed"] == "true"
    other = retry(client, parent, headers=headers, json={"fromFailure": False})
    assert list(refused(other, "idempotency_conflict")) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (DagsterRunStatus.STARTING, "queued"),
        (DagsterRunStatus.STARTED, "running"),
        (DagsterRunStatus.CANCELING, "running"),
        (DagsterRunStatus.SUCCESS, "succeeded"),
    ],
)
def test_only_failed_and_canceled_runs_can_be_retried(
    status: DagsterRunStatus, told: str, client: httpx.Client, instance: DagsterInstance
) -> None:
    """409 with the status that the run has."""
    run = make_run(instance, status=status)
    assert refused(retry(client, encode_run_id(run.run_id)), "run_not_retryable") == {"status": told}


def test_a_run_that_has_left_nothing_undone(
    parent: str, client: httpx.Client, connection: DagsterConnection, database_url: str, instance: DagsterInstance
) -> None:
    """As when its worker was lost after the last node: nothing is written twice unless somebody says so."""
    run_id = ended(client, connection, retry(client, parent), status="succeeded")
    set_status(database_url, run_id, "FAILURE")
    assert list(refused(retry(client, run_id), "run_not_retryable")) == ["fromFailure"]
    again = retry(client, run_id, json={"fromFailure": False})
    assert run_of(instance, again).step_keys_to_execute == LEFT


def test_what_does_not_exist_is_not_retried(client: httpx.Client, parent: str, database_url: str) -> None:
    """Unknown runs, and those of pipelines that the caller may not see, are not found."""
    assert retry(client, "run_00000000000000000000000000").status_code == 404
    limited = bearer(make_key(database_url, Scope.PIPELINES_RUN, pipelines=("pl_crm",))[1])
    assert retry(client, parent, headers=limited).status_code == 404
    reader = bearer(make_key(database_url, Scope.PIPELINES_READ)[1])
    assert retry(client, parent, headers=reader).status_code == 403


@pytest.mark.parametrize("body", [{"fromFailure": 3}, {"fromFailure": None}, {"from": "start"}, [], "x"])
def test_what_can_not_be_understood_is_refused(body: Any, client: httpx.Client, parent: str) -> None:
    """400, and no retry."""
    assert retry(client, parent, json=body).status_code == 400


def test_a_retry_is_on_record(client: httpx.Client, parent: str, database_url: str) -> None:
    """The trail names the run that was retried, and the one that came of it."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_RUN)
    run_id = retry(client, parent, headers=bearer(secret)).json()["runId"]
    retry(client, parent, headers=bearer(secret))
    with open_records(database_url) as records:
        events = records.audit.list_events(AuditFilter(actor=key_id), limit=10)
    told = [(event.action, event.resource, event.status, dict(event.detail)) for event in reversed(events)]
    assert told == [
        ("run.retry", parent, 202, {"runId": run_id}),
        ("run.retry", parent, 202, {"runId": run_id, "replayed": True}),
    ]


def run_of_then(instance: DagsterInstance, *edges: tuple[str, str]) -> str:
    """A run of a version of `two_branches` that has only these edges, and in which n_old and n_fragile fail."""

    @dg.job(name="two_branches", tags={"planasonix/pipeline_id": "pl_branches"}, executor_def=dg.in_process_executor)
    def then() -> None:
        made: dict[str, Any] = {}
        for source, target in edges:
            if source not in made:
                made[source] = node(source, type_name="source.csv")()
            made[target] = node(target, type_name="transform.select")(made[source])

    done = then.execute_in_process(instance=instance, raise_on_error=False)
    assert not done.success
    return encode_run_id(done.run_id)


def test_a_changed_pipeline_runs_as_it_is_now(client: httpx.Client, instance: DagsterInstance) -> None:
    """With what is new in it; what has succeeded and is still the same is reused."""
    parent = run_of_then(instance, ("n_right", "n_fragile"), ("n_fragile", "n_after"))
    answer = retry(client, parent)
    assert set(run_of(instance, answer).step_keys_to_execute or ()) == {*KEPT, *LEFT} - {"n_right"}
    assert nodes_of(client, answer.json()["runId"])["n_right"]["reusedFrom"] == parent
    client.delete(f"/api/runs/{answer.json()['runId']}")
    whole = run_of(instance, retry(client, parent, json={"fromFailure": False}))
    assert set(whole.step_keys_to_execute or ()) == {*KEPT, *LEFT}


def test_a_pipeline_that_has_lost_what_is_to_be_run(client: httpx.Client, instance: DagsterInstance) -> None:
    """409 that names it; from the start, the pipeline runs as it is now."""
    parent = run_of_then(instance, ("n_right", "n_bad"))
    assert "n_bad" in refused(retry(client, parent), "run_not_retryable")["nodes"]
    assert retry(client, parent, json={"fromFailure": False}).status_code == 202


def document(*, table: str = "a", keep: str = "x > 1", edges: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """A graph of two sources, the first of which is filtered and written."""
    return {
        "nodes": [
            {"id": "n_source", "type": "source.csv", "config": {"table": table}},
            {"id": "n_other", "type": "source.csv"},
            {"id": "n_keep", "type": "transform.filter", "config": {"expression": keep}},
            {"id": "n_sink", "type": "destination.csv"},
        ],
        "edges": [
            {"id": f"e{number}", "source": source, "target": target}
            for number, (source, target) in enumerate((("n_source", "n_keep"), ("n_keep", "n_sink"), *edges))
        ],
    }


@pytest.mark.parametrize(
    ("now", "alike"),
    [
        (document(), {"n_source", "n_other", "n_keep", "n_sink"}),
        (document(table="b"), {"n_other"}),
        (document(keep="x > 2"), {"n_source", "n_other"}),
        (document(edges=(("n_other", "n_sink"),)), {"n_source", "n_other", "n_keep"}),
    ],
)
def test_a_node_is_unchanged_if_all_before_it_is(now: dict[str, Any], alike: set[str]) -> None:
    """A node's rows depend on every node and edge upstream; what it is called and where it stands does not matter."""
    assert unchanged_nodes(document(), now) == alike
    moved = {**now, "nodes": [{**one, "position": {"x": 1}, "name": "new"} for one in now["nodes"]]}
    assert unchanged_nodes(document(), moved) == alike
