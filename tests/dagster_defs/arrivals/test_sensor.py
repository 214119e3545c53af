"""A trigger on arrivals as a Dagster sensor: what it asks Dagster to run, and what it tells when it can't."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    SensorDefinition,
    build_sensor_context,
)

from planasonix_orchestrator.dagster_defs.sensors.arrivals.sensor import summarize
from planasonix_orchestrator.dagster_defs.variables import RunVariableError
from tests.dagster_defs.pipelines import document, node
from tests.dagster_defs.test_repository import repository_of

VARIABLES = {"files": {"default": None}, "mode": {"default": "full"}}


def sensor_of(
    folder: Path, trigger_id: str, *, declared: Any = VARIABLES, says: Any = None, **config: Any
) -> SensorDefinition:
    """The sensor of a pipeline with this trigger, as a code server that has just started has it."""
    config = {"path": "in", "detection": "first_seen", **config}
    trigger = {"id": trigger_id, "triggerType": "file_watcher", "config": config, **(says or {})}
    pipeline = document([node("a", "source.numbers")], variables=declared, triggers=[trigger])
    (folder / "a.json").write_text(json.dumps(pipeline))
    (folder / "in").mkdir(exist_ok=True)
    (sensor,) = repository_of(folder).sensor_defs
    return sensor


def tick(sensor: SensorDefinition, instance: DagsterInstance) -> list[RunRequest]:
    evaluation = sensor.evaluate_tick(build_sensor_context(instance=instance))
    return list(evaluation.run_requests or [])


def variables_of(request: RunRequest) -> Any:
    return request.run_config["resources"]["variables"]["config"]


def test_a_run_for_the_files_that_came(tmp_path: Path, instance: DagsterInstance, trigger_id: str) -> None:
    """It gets their paths and the trigger's variables, and tells what started it."""
    sensor = sensor_of(tmp_path, trigger_id, says={"variables": {"mode": "delta"}}, pathsVariable="files")
    assert (sensor.name, sensor.job_name, sensor.minimum_interval_seconds) == (trigger_id, "numbers", 60)
    assert sensor.description == f"{trigger_id}: starts the pipeline when files arrive in {tmp_path / 'in'}."
    assert tick(sensor, instance) == []
    for name in ("a.csv", "b.csv"):
        (tmp_path / "in" / name).touch()
    (request,) = tick(sensor, instance)
    assert variables_of(request) == {"files": f"{tmp_path}/in/a.csv,{tmp_path}/in/b.csv", "mode": "delta"}
    assert request.job_name == "numbers"
    assert request.tags == {
        "dagster/sensor_name": trigger_id,
        "planasonix/trigger": "sensor",
        "planasonix/trigger_id": trigger_id,
        "planasonix/event_summary": "2 files: a.csv, b.csv",
    }


def test_paths_with_commas(tmp_path: Path, instance: DagsterInstance, trigger_id: str) -> None:
    """A JSON list tells them apart."""
    sensor = sensor_of(tmp_path, trigger_id, pathsVariable="files", pathsFormat="json")
    for name in ("a,b", 'c"ü'):
        (tmp_path / "in" / name).touch()
    (request,) = tick(sensor, instance)
    assert json.loads(variables_of(request)["files"]) == [f"{tmp_path}/in/a,b", f'{tmp_path}/in/c"ü']


def test_a_run_that_could_not_start(tmp_path: Path, instance: DagsterInstance, trigger_id: str) -> None:
    """The tick fails and names the variable; once that is mended, the same files start their run."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").touch()
    faulty = sensor_of(tmp_path, trigger_id, declared={**VARIABLES, "day": {}}, pathsVariable="files")
    for _ in range(2):
        with pytest.raises(RunVariableError, match="'day': must be set"):
            tick(faulty, instance)
    (request,) = tick(sensor_of(tmp_path, trigger_id, pathsVariable="files"), instance)
    assert variables_of(request)["files"] == f"{tmp_path}/in/a"


def test_the_environment_of_the_runs(tmp_path: Path, instance: DagsterInstance, trigger_id: str) -> None:
    """It is the one that the trigger names."""
    (tmp_path / "environments.yaml").write_text("environments: {prod: {variables: {mode: of prod}}}")
    sensor = sensor_of(tmp_path, trigger_id, says={"environmentId": "prod"})
    (tmp_path / "in/a").touch()
    (request,) = tick(sensor, instance)
    assert request.run_config["resources"]["pipeline"]["config"] == {"environment": "prod"}
    assert variables_of(request)["mode"] == "of prod"
    assert request.tags["planasonix/environment_id"] == "prod"


def test_killed_between_seeing_and_starting(tmp_path: Path, instance: DagsterInstance, trigger_id: str) -> None:
    """The next code server asks for the same run with the same key, by which Dagster knows it."""
    sensor = sensor_of(tmp_path, trigger_id)
    (tmp_path / "in/a").touch()
    (first,) = tick(sensor, instance)
    (again,) = tick(sensor_of(tmp_path, trigger_id), instance)
    assert (again.run_key, again.run_config, again.tags) == (first.run_key, first.run_config, first.tags)


@pytest.mark.parametrize(("status", "asks"), [(DagsterRunStatus.STARTED, 0), (DagsterRunStatus.NOT_STARTED, 1)])
def test_a_batch_that_has_a_run(
    tmp_path: Path, instance: DagsterInstance, trigger_id: str, status: DagsterRunStatus, asks: int
) -> None:
    """It is not asked for again, unless Dagster was killed between making the run and queueing it."""
    sensor = sensor_of(tmp_path, trigger_id)
    (tmp_path / "in/a").touch()
    (request,) = tick(sensor, instance)
    instance.add_run(
        DagsterRun(
            job_name="numbers", run_id=str(uuid4()), status=status, tags={"dagster/run_key": str(request.run_key)}
        )
    )
    assert [each.run_key for each in tick(sensor, instance)] == [request.run_key] * asks


@pytest.mark.parametrize(
    ("paths", "summary"),
    [
        (["/x/a.csv"], "1 file: a.csv"),
        (["a", "b", "s3://x/y/c"], "3 files: a, b, c"),
        (["x" * 90] * 1000, f"1,000 files: {'x' * 90} and 999 more"),
        (["y" * 250, "b"], f"2 files: {'y' * 120}…, b"),
    ],
)
def test_the_event_in_a_few_words(paths: list[str], summary: str) -> None:
    """Short enough for a list of runs, and for Dagster's tags."""
    assert summarize(paths) == summary
    assert len(summary) <= 200
