"""Canceling: an intent that is stored before the answer, and driven to its end whatever happens in between."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from sqlalchemy import create_engine

from api_adapter.control.code_location import DagsterConnection
from api_adapter.records import AuditFilter, Scope, open_records
from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.cancellation import store_intent
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from tests.api.conftest import serving
from tests.api.credentials import bearer, make_key
from tests.api.making import make_run
from tests.api.waiting import wait_until
from tests.conftest import open_instance, superuser

pytestmark = pytest.mark.stack

REQUESTED = {
    "status": "cancel_requested",
    "message": "Cancellation accepted; workers stop after their current safe point.",
}


def start(client: httpx.Client, pipeline_id: str = "pl_slow") -> str:
    run_id: str = client.post(f"/api/pipelines/{pipeline_id}/run").json()["runId"]
    return run_id


def status_of(client: httpx.Client, run_id: str) -> str:
    status: str = client.get(f"/api/runs/{run_id}").json()["status"]
    return status


def intend(database_url: str, run_id: str) -> None:
    """Store an intent as an API does that then ends, before it acts on it."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        store_intent(connection, decode_run_id(run_id), by="ann", at=datetime.now(UTC))
    engine.dispose()


def times_canceling(client: httpx.Client, run_id: str) -> int:
    lines = client.get(f"/api/runs/{run_id}/logs").json()["lines"]
    return [line["message"] for line in lines].count("Run is being canceled")


@contextmanager
def working(client: httpx.Client, settings: ApiSettings) -> Iterator[str]:
    """A run of `slow` whose node is at work in a process of its own."""
    run_id = start(client)
    connection = DagsterConnection(settings)
    connection.instance().launch_run(decode_run_id(run_id), connection.loaded().workspace)
    connection.close()
    wait_until(
        lambda: bool(client.get(f"/api/runs/{run_id}/nodes").json()["nodes"][0]["status"] == "running"), seconds=60
    )
    yield run_id


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("POST", "/cancel")])
@pytest.mark.parametrize("status", [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED])
def test_who_asks_again_gets_the_same_answer(
    status: DagsterRunStatus, method: str, path: str, client: httpx.Client, instance: DagsterInstance
) -> None:
    """Both ways to ask are one; asking again has no second effect, and the answer says when to look."""
    dagster_id = make_run(instance, status=status).run_id
    run_id = encode_run_id(dagster_id)
    answers = [client.request(method, f"/api/runs/{run_id}{path}") for _ in range(2)]
    for answer in answers:
        assert (answer.status_code, answer.json()) == (202, {"id": run_id, **REQUESTED})
        assert answer.headers["Retry-After"] == "1"
    told = client.get(f"/api/runs/{run_id}").json()
    assert told["cancelRequestedBy"] == "tests"
    run = instance.get_run_by_id(dagster_id)
    assert run is not None
    assert run.tags[tags.CANCEL_OF] == dagster_id
    if status is DagsterRunStatus.STARTED:  # it is marked as being canceled, which must not come after its end
        wait_until(lambda: _dagster_status(instance, dagster_id) is DagsterRunStatus.CANCELING, seconds=30)
    instance.report_run_canceled(run)
    wait_until(lambda: status_of(client, run_id) == "canceled", seconds=30)
    again = client.request(method, f"/api/runs/{run_id}{path}")
    assert (again.status_code, again.json()["status"]) == (200, "canceled")
    assert client.get(f"/api/runs/{run_id}").json()["cancelRequestedAt"] == told["cancelRequestedAt"]


def _dagster_status(instance: DagsterInstance, dagster_id: str) -> DagsterRunStatus | None:
    run = instance.get_run_by_id(dagster_id)
    return None if run is None else run.status


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_an_end_that_was_overtaken_stands(
    end: str, client: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """Dagster marks a run as being canceled that has ended a moment before; it ended as it did, and then."""
    dagster_id = make_run(instance, status=DagsterRunStatus.STARTED).run_id
    run_id = encode_run_id(dagster_id)
    run = instance.get_run_by_id(dagster_id)
    assert run is not None
    event = {"succeeded": "PIPELINE_SUCCESS", "failed": "PIPELINE_FAILURE", "canceled": "PIPELINE_CANCELED"}[end]
    instance.report_dagster_event(DagsterEvent(event_type_value=event, job_name=run.job_name), run_id=dagster_id)
    ended_at = client.get(f"/api/runs/{run_id}").json()["finishedAt"]
    instance.report_run_canceling(run)
    assert status_of(client, run_id) == "running"
    intend(database_url, run_id)
    wait_until(lambda: status_of(client, run_id) == end, seconds=30)
    assert client.get(f"/api/runs/{run_id}").json()["finishedAt"] == ended_at


@pytest.mark.parametrize("status", [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE])
def test_a_run_that_has_ended_keeps_its_end(
    status: DagsterRunStatus, client: httpx.Client, instance: DagsterInstance
) -> None:
    """409 by both ways, and no trace of the wish on the run."""
    run_id = encode_run_id(make_run(instance, status=status).run_id)
    for answer in (client.delete(f"/api/runs/{run_id}"), client.post(f"/api/runs/{run_id}/cancel")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "run_finished")
    assert client.get(f"/api/runs/{run_id}").json()["cancelRequestedAt"] is None


def test_the_deployment_may_answer_400(settings: ApiSettings, instance: DagsterInstance) -> None:
    """Where its policy says so, a run that has ended is a wrong request."""
    run_id = encode_run_id(make_run(instance, status=DagsterRunStatus.SUCCESS).run_id)
    with serving(replace(settings, cancel_finished_status=400)) as client:
        assert client.delete(f"/api/runs/{run_id}").status_code == 400


def test_an_intent_outlives_whoever_stored_it(client: httpx.Client, database_url: str, settings: ApiSettings) -> None:
    """Of an API that ends right after it has stored it, the next one, or another, drives the intent to its end."""
    with working(client, settings) as run_id:
        queued = start(client)
        for one in (run_id, queued):
            intend(database_url, one)
        for one in (run_id, queued):
            wait_until(lambda one=one: status_of(client, one) == "canceled", seconds=30)  # type: ignore[misc]
            assert client.get(f"/api/runs/{one}").json()["cancelRequestedBy"] == "ann"


def test_a_run_that_was_never_queued_can_be_canceled(
    client: httpx.Client, database_url: str, instance: DagsterInstance
) -> None:
    """What a crash has left between its creation and the queue ends as soon as it is asked for."""
    run_id = encode_run_id(make_run(instance, status=DagsterRunStatus.NOT_STARTED).run_id)
    assert client.delete(f"/api/runs/{run_id}").status_code == 202
    assert status_of(client, run_id) == "canceled"


def test_several_apis_cancel_a_run_once(client: httpx.Client, settings: ApiSettings) -> None:
    """Its worker is told to stop once, and the log says so once."""
    with working(client, settings) as run_id, serving(settings) as second, serving(settings) as third:
        askers = [
            threading.Thread(target=one.delete, args=(f"/api/runs/{run_id}",)) for one in (client, second, third) * 2
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        wait_until(lambda: status_of(client, run_id) == "canceled", seconds=30)
        assert times_canceling(client, run_id) == 1


class DeadServer:
    """Something that accepts connections as a code server does, and then hangs up; it counts them."""

    def __init__(self) -> None:
        self.calls = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def test_a_worker_that_can_not_be_told_is_not_told_over_and_over(
    client: httpx.Client, instance: DagsterInstance
) -> None:
    """While its code server is away the run is marked once, so that Dagster's monitoring can end it; no more events."""
    with closing(DeadServer()) as server:
        address = json.dumps({"host": "127.0.0.1", "port": server.port})
        run = make_run(instance, status=DagsterRunStatus.STARTED, tags={GRPC_INFO_TAG: address})
        run_id = encode_run_id(run.run_id)
        client.delete(f"/api/runs/{run_id}")
        wait_until(lambda: server.calls >= 4, seconds=20)
        assert times_canceling(client, run_id) == 1
        instance.report_run_canceled(run)


@contextmanager
def watched_instance(folder: Path, *, database_url: str, drives_intents: bool) -> Iterator[DagsterInstance]:
    """A Dagster of its own, whose launcher launches nothing."""
    (folder / "dagster.yaml").write_text(
        f"storage: {{postgres: {{postgres_url: '{database_url}'}}}}\n"
        "run_coordinator: {module: dagster._core.run_coordinator, class: QueuedRunCoordinator}\n"
        "run_launcher: {module: tests.api.launchers, class: WatchedLauncher,"
        f" config: {{drives_intents: {str(drives_intents).lower()}}}}}\n"
        "telemetry: {enabled: false}\n"
    )
    with open_instance(folder) as instance:
        yield instance


def reconcilers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "cancel-reconciler"}


def test_a_launcher_that_drives_intents_is_left_to_do_so(
    postgres_url: str, settings: ApiSettings, tmp_path: Path
) -> None:
    """The intent is stored and the answer given; nothing else happens here, not even to a run in the queue."""
    with watched_instance(tmp_path, database_url=postgres_url, drives_intents=True) as instance:
        runs = [make_run(instance, status=one) for one in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED)]
        before = reconcilers()
        with serving(replace(settings, dagster_home=str(tmp_path), postgres_url=postgres_url)) as client:
            for run in runs:
                assert client.delete(f"/api/runs/{encode_run_id(run.run_id)}").status_code == 202
            wait_until(lambda: reconcilers() <= before, seconds=10)
        for run in runs:
            found = instance.get_run_by_id(run.run_id)
            assert found is not None
            assert found.status == run.status
            assert found.tags[tags.CANCEL_OF] == run.run_id


def test_a_launcher_without_code_server_is_told_once(postgres_url: str, settings: ApiSettings, tmp_path: Path) -> None:
    """As those of containers are: what one call has told the worker is not told again."""
    with watched_instance(tmp_path, database_url=postgres_url, drives_intents=False) as instance:
        run = make_run(instance, status=DagsterRunStatus.STARTED)
        run_id = encode_run_id(run.run_id)
        with serving(replace(settings, dagster_home=str(tmp_path), postgres_url=postgres_url)) as client:
            assert client.delete(f"/api/runs/{run_id}").status_code == 202
            wait_until(lambda: times_canceling(client, run_id) == 1, seconds=10)
            second = make_run(instance, status=DagsterRunStatus.STARTED)
            client.delete(f"/api/runs/{encode_run_id(second.run_id)}")
            wait_until(lambda: times_canceling(client, encode_run_id(second.run_id)) == 1, seconds=10)
            assert times_canceling(client, run_id) == 1


def test_a_wish_is_not_lost_with_the_connections(client: httpx.Client, database_url: str) -> None:
    """After a restart of Postgres the first cancel is stored, and the run ends."""
    run_id = start(client)
    with superuser(database_url) as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'"
        )
    assert client.delete(f"/api/runs/{run_id}").status_code == 202
    wait_until(lambda: status_of(client, run_id) == "canceled", seconds=20)


def test_how_it_ended_is_in_the_audit_trail(client: httpx.Client, instance: DagsterInstance, database_url: str) -> None:
    """Once the run has ended, each wish to cancel it says how: also where the run was faster, or is no longer there."""
    key_id, secret = make_key(database_url, Scope.PIPELINES_RUN)
    runs = [make_run(instance, status=DagsterRunStatus.STARTING) for _ in range(3)]
    for run in runs:
        client.delete(f"/api/runs/{encode_run_id(run.run_id)}", headers=bearer(secret))
    with open_records(database_url) as records:

        def outcomes() -> list[object]:
            found = records.audit.list_events(AuditFilter(actor=key_id), limit=10)
            return [event.detail.get("outcome") for event in reversed(found)]

        assert outcomes() == [None, None, None]
        instance.report_run_canceled(runs[0])
        instance.report_dagster_event(
            DagsterEvent(DagsterEventType.PIPELINE_SUCCESS.value, job_name=runs[1].job_name), run_id=runs[1].run_id
        )
        instance.delete_run(runs[2].run_id)
        wait_until(lambda: outcomes() == ["canceled", "succeeded", "deleted"], seconds=20)
