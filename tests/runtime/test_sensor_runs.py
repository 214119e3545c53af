"""Runs that are created in bulk, by Dagster's own sensor daemon over real pipelines and a real record."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor
from sqlalchemy.exc import IntegrityError

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.run_host.queue import RunQueue
from planasonix_orchestrator.runtime import sensor_runs
from planasonix_orchestrator.runtime.sensor_runs import TakesNewRuns, in_bulk
from tests.api.conftest import DAGSTERS_QUEUE, OUR_QUEUE, dagster_home
from tests.conftest import database

_LOCATION = """
import json
from pathlib import Path
from dagster import DefaultSensorStatus, RunRequest, SensorDefinition, job, op, repository
from planasonix_orchestrator.dagster_defs.repository import load_repository
from planasonix_orchestrator.settings import Settings

FOLDER = Path({folder!r})

@op
def work():
    pass

@job
def foreign():
    work()

def ask(context):
    return [RunRequest(**request) for request in json.loads((FOLDER / "requests.json").read_text())]

@repository
def planasonix():
    jobs = [*load_repository(Settings(pipelines=FOLDER / "pipelines", state=FOLDER / "state")).get_all_jobs(), foreign]
    sensor = SensorDefinition(
        name="asks", jobs=jobs, evaluation_fn=ask, default_status=DefaultSensorStatus.RUNNING
    )
    return [*jobs, sensor]
"""


@dataclass
class Daemon:
    """Dagster's sensor daemon over two pipelines, `one` and `two`, a job of others and a sensor that asks for runs."""

    instance: DagsterInstance
    workspace: WorkspaceProcessContext
    folder: Path

    def ask(self, *requests: Mapping[str, Any]) -> list[DagsterRun]:
        """What is new in the record after a tick that asks for these runs, in the order of creation."""
        before = {run.run_id for run in self.instance.get_runs()}
        (self.folder / "requests.json").write_text(json.dumps(requests))
        list(sensor.execute_sensor_iteration(self.workspace, logging.getLogger("daemon"), None, None))
        return [run for run in reversed(self.instance.get_runs()) if run.run_id not in before]

    def last_tick(self) -> InstigatorTick:
        """The tick that was the last one."""
        (state,) = self.instance.all_instigator_state()
        (tick,) = self.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        return tick


@contextmanager
def daemon(folder: Path, *, url: str, coordinator: str) -> Iterator[Daemon]:
    """A daemon whose record is in the database at `url`."""
    (folder / "pipelines").mkdir()
    (folder / "pipelines/environments.yaml").write_text("environments: {test: {name: Test}}")
    for each in ("one", "two"):
        nodes = [{"id": "n", "type": "source.csv", "config": {"path": "{{ file }}"}}]
        document = {"id": f"pl_{each}", "name": each, "variables": {"file": {"default": "a.csv"}}, "nodes": nodes}
        (folder / f"pipelines/{each}.json").write_text(json.dumps(document))
    location = folder / "location.py"
    location.write_text(_LOCATION.format(folder=str(folder)))
    origin = InProcessCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(python_file=str(location)), location_name="planasonix"
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        dagster_home(folder, url=url, coordinator=coordinator) as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget([origin])) as workspace,
    ):
        patch.setattr(sensor, "is_under_min_interval", lambda *_arguments: False)  # each look is one
        yield Daemon(instance, workspace, folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, postgres_server: str, dagster_tables: str) -> Iterator[Daemon]:
    with (
        database(postgres_server, like=dagster_tables) as url,
        daemon(tmp_path_factory.mktemp("ours"), url=url, coordinator=OUR_QUEUE) as one,
    ):
        yield one


@pytest.fixture
def ours(shared: Daemon) -> Daemon:
    """A daemon with our queue, and an empty record."""
    with shared.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("TRUNCATE runs, run_tags, event_logs, jobs, job_ticks, instigators")
    return shared


@pytest.fixture
def bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon as ours is."""
    monkeypatch.setattr(sensor, "_submit_run_requests", in_bulk(sensor._submit_run_requests))


@pytest.fixture
def only_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon as ours is, but that it fails where ours would leave a request to Dagster."""
    monkeypatch.setattr(sensor, "_submit_run_requests", in_bulk(_refuse))


def _refuse(requests: Sequence[sensor_runs.Request], *_arguments: object, **_options: object) -> Iterator[None]:
    raise AssertionError(f"left to Dagster: {requests}")
    yield


def asking(key: str, *, job: str = "one", environment: str | None = None, file: object = "b.csv") -> dict[str, Any]:
    """A request for a run."""
    resources: dict[str, Any] = {"variables": {"config": {"file": file}}}
    if environment:
        resources["pipeline"] = {"config": {"environment": environment}}
    return {"run_key": key, "job_name": job, "run_config": {"resources": resources}, "tags": {"own": "x"}}


def keys(runs: Sequence[DagsterRun]) -> list[str]:
    return [run.tags["dagster/run_key"] for run in runs]


def recorded(instance: DagsterInstance, run: DagsterRun) -> dict[str, Any]:
    """All that is recorded of a run but its id, its key and its tick."""
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        (row,) = connection.exec_driver_sql("SELECT * FROM runs WHERE run_id = %s", (run.run_id,)).mappings()
        rows = connection.exec_driver_sql("SELECT key, value FROM run_tags WHERE run_id = %s", (run.run_id,)).all()
        events = connection.exec_driver_sql(
            "SELECT dagster_event_type, step_key, event FROM event_logs WHERE run_id = %s ORDER BY id", (run.run_id,)
        ).all()
    own = {"dagster/run_key", "dagster/tick"}
    body = json.loads(row["run_body"])
    body["tags"] = {key: value for key, value in body["tags"].items() if key not in own}
    entries = [json.loads(event) for _, _, event in events]
    return {
        **{key: row[key] for key in ("pipeline_name", "status", "snapshot_id", "start_time", "end_time", "partition")},
        "body": {key: value for key, value in body.items() if key not in {"run_id", "status"}},  # see the column
        "tags": sorted(tuple(each) for each in rows if each.key not in own),
        "events": [
            {key: value for key, value in entry.items() if key not in {"run_id", "timestamp"}} for entry in entries
        ],
        "event columns": [tuple(event)[:2] for event in events],
    }


def test_they_are_the_runs_that_dagster_would_create(ours: Daemon, request: pytest.FixtureRequest) -> None:
    """In all that is recorded of them, but for what tells one tick from another."""
    wanted = [(job, environment) for job in ("one", "two") for environment in (None, "test")]
    stock = ours.ask(*[asking(f"{job} {environment}", job=job, environment=environment) for job, environment in wanted])
    request.getfixturevalue("only_bulk")
    made = ours.ask(*[asking(f"{job} {environment}!", job=job, environment=environment) for job, environment in wanted])
    for one, other in zip(made, stock, strict=True):
        assert recorded(ours.instance, one) == recorded(ours.instance, other)
    assert keys(made) == [f"{key}!" for key in keys(stock)]
    assert [run.tags[tags.PIPELINE_ID] for run in made] == ["pl_one", "pl_one", "pl_two", "pl_two"]
    assert [run.tags.get(tags.ENVIRONMENT_ID) for run in made] == [None, "test", None, "test"]
    assert {run.tags["dagster/tick"] for run in made} == {str(ours.last_tick().tick_id)}


def test_all_of_many_requests(ours: Daemon, only_bulk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several transactions, in their order; the tick names each run, as the Dagster UI shows it."""
    monkeypatch.setattr(sensor_runs, "AT_ONCE", 7)
    made = ours.ask(*[asking(str(number)) for number in range(20)])
    assert keys(made) == [str(number) for number in range(20)]
    tick = ours.last_tick()
    assert (tick.status, tick.run_ids, tick.run_keys) == (TickStatus.SUCCESS, [run.run_id for run in made], keys(made))


def test_a_key_has_one_run(ours: Daemon, bulk: None) -> None:
    """Of this tick, or of an earlier one; the key of another sensor, or none at all, is another matter."""
    ours.ask(asking("a"))
    tagged = {"dagster/run_key": "other", "dagster/sensor_name": "another", tags.PIPELINE_ID: "pl_one"}
    ours.instance.add_run(DagsterRun("one", run_id=str(uuid4()), tags=tagged))
    without = {key: value for key, value in asking("").items() if key != "run_key"}
    made = ours.ask(asking("a"), asking("b"), asking("b", file="c.csv"), asking("other"), without, without)
    assert [run.tags.get("dagster/run_key") for run in made] == ["b", "other", None, None]
    assert made[0].run_config == asking("b")["run_config"], "that of the first"
    assert ours.last_tick().status is TickStatus.SUCCESS


def test_a_run_that_was_created_but_not_queued_is_queued(ours: Daemon, bulk: None) -> None:
    """As Dagster's own way leaves it behind when it is killed in between."""
    (run,) = ours.ask(asking("a"))
    with ours.instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.exec_driver_sql("UPDATE runs SET status = 'NOT_STARTED'")
    assert keys(ours.ask(asking("a"), asking("b"))) == ["b"]
    found = ours.instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is DagsterRunStatus.QUEUED


def test_a_request_that_the_job_refuses_keeps_no_other_from_its_run(ours: Daemon, bulk: None) -> None:
    """The tick fails and says why; each time that Dagster tries it again, what is there stays alone."""
    made = ours.ask(asking("a"), asking("bad", file={"not": "a text"}), asking("b"))
    assert keys(made) == ["a", "b"]
    tick = ours.last_tick()
    assert tick.status is TickStatus.FAILURE
    assert tick.error is not None
    assert "resources:variables:config" in tick.error.to_string()
    assert ours.ask() == []


def test_what_is_not_a_pipeline_is_left_to_dagster(ours: Daemon, bulk: None) -> None:
    """It would start at once instead of standing in the queue, which here has no host: the others are not hurt."""
    made = ours.ask({"run_key": "f", "job_name": "foreign"}, asking("a"))
    assert {run.job_name: run.status for run in made}["one"] is DagsterRunStatus.QUEUED
    assert Counter(run.job_name for run in made) == {"foreign": 1, "one": 1}


def test_another_queue_is_left_to_dagster(tmp_path: Path, dagster_url: str, bulk: None) -> None:
    """It has its own way to take runs."""
    with daemon(tmp_path, url=dagster_url, coordinator=DAGSTERS_QUEUE) as theirs:
        assert not isinstance(theirs.instance.run_coordinator, TakesNewRuns)
        (run,) = theirs.ask(asking("a"))
        assert run.status is DagsterRunStatus.QUEUED


def test_all_or_none_is_put_into_the_queue(ours: Daemon, only_bulk: None) -> None:
    """A run that is there already keeps all that would be put with it out, whatever is written before."""
    (run,) = ours.ask(asking("a"))
    queue = ours.instance.run_coordinator
    assert isinstance(queue, RunQueue)
    with pytest.raises(IntegrityError):
        queue.put([run._replace(run_id=str(uuid4())), run], at=datetime.now(UTC))
    assert [each.run_id for each in ours.instance.get_runs()] == [run.run_id]


def test_a_run_that_somebody_makes_meanwhile_is_not_made_twice(
    ours: Daemon, bulk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what is there and the writing: what the daemon wanted to put with it is made all the same."""
    really = RunQueue.put
    taken: list[str] = []

    def put_late(queue: RunQueue, runs: Sequence[DagsterRun], *, at: datetime) -> None:
        if not taken:
            taken.append(runs[0].run_id)
            really(queue, runs[:1], at=at)
        really(queue, runs, at=at)

    monkeypatch.setattr(RunQueue, "put", put_late)
    made = ours.ask(asking("a"), asking("b"))
    assert keys(made) == ["a", "b"]
    assert made[0].run_id == taken[0]
    assert ours.last_tick().status is TickStatus.SUCCESS
