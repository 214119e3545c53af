"""The code location as Dagster loads it: in a code server, and in the process of a run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME, PIPELINES, PROBLEMS, REPOSITORY_NAME
from planasonix_orchestrator.settings import PIPELINES_VARIABLE, STATE_VARIABLE
from tests.dagster_defs.pipelines import published

MODULE = "planasonix_orchestrator.definitions"
PIPELINES_COUNT = 1000

# What a run worker does (`dagster api execute_run`): it knows the module, the attribute and the name of a job.
WORKER = f"""
import gc, sys
from dagster import DagsterInstance, GraphDefinition, execute_job
from dagster._core.definitions.reconstruct import ReconstructableRepository

repository = ReconstructableRepository.for_module({MODULE!r}, "planasonix")
job = repository.get_reconstructable_job("p7")
with DagsterInstance.ephemeral() as instance:
    assert execute_job(job, instance).success
print("built:", *sorted({{each.name for each in gc.get_objects() if isinstance(each, GraphDefinition)}}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one pipeline for each file, over one small CSV file."""
    (tmp_path / "in.csv").write_text("a,b\n1,x\n2,y\n")
    (tmp_path / "pipelines").mkdir()
    return tmp_path / "pipelines"


def write_pipeline(folder: Path, name: str) -> None:
    """Write a pipeline of three nodes."""
    pipeline = {
        "id": f"pl_{name}",
        "name": name,
        "nodes": [
            {"id": "read", "type": "source.csv", "config": {"path": "../in.csv"}},
            {"id": "in", "type": "filter", "config": {"expression": "a > 1"}},
            {"id": "write", "type": "destination.parquet", "config": {"path": f"../out/{name}.parquet"}},
        ],
        "edges": [{"source": "read", "target": "in"}, {"source": "in", "target": "write"}],
    }
    (folder / f"{name}.json").write_text(json.dumps(pipeline))


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of a process of the stack."""
    return {**os.environ, PIPELINES_VARIABLE: str(folder), STATE_VARIABLE: str(folder.parent / "state")}


@pytest.mark.stack
def test_a_run_builds_only_its_own_job(folder: Path) -> None:
    """Of 1,000 pipelines, the process of a run builds the one that it runs, and runs it."""
    for number in range(PIPELINES_COUNT):
        write_pipeline(folder, f"p{number}")
    done = subprocess.run(
        [sys.executable, "-c", WORKER], env=environment_of(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "built: Graph_of_p7"
    assert [path.name for path in (folder.parent / "out").iterdir()] == ["p7.parquet"]


@pytest.mark.stack
def test_the_code_server_publishes_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client reads jobs, pipelines and problems from the code server, as the API does."""
    for number in range(20):
        write_pipeline(folder, f"p{number}")
    (folder / "broken.yaml").write_text("id: pl_broken\nname: broken\nnodes: [{id: a, type: source.cvs}]\n")
    (folder.parent / "home").mkdir()
    for name, value in environment_of(folder).items():
        monkeypatch.setenv(name, value)
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE)
    origin = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=CODE_LOCATION_NAME)
    with (
        DagsterInstance.local_temp(str(folder.parent / "home")) as instance,
        origin.create_single_location(instance) as location,
    ):
        repository = location.get_repository(REPOSITORY_NAME)
        job = repository.get_full_job("p7")
        pipelines = published(repository.repository_snap, PIPELINES)
        problems = published(repository.repository_snap, PROBLEMS)
        preset: Any = job.active_presets[0].run_config
    assert {each["id"] for each in pipelines} == {f"pl_p{number}" for number in range(20)}
    assert {(each["code"], each["pipelineId"]) for each in problems} == {("unknown_type", "pl_broken")}
    assert preset["ops"]["in_"]["config"]["expression"] == "a > 1"


@pytest.mark.stack
def test_importing_the_definitions_reads_nothing(tmp_path: Path) -> None:
    """The folder is read when Dagster asks, not on import."""
    code = (
        "import sys\n"
        f"sys.addaudithook(lambda event, args: event == 'open' and {str(tmp_path)!r} in str(args[0]) and sys.exit(3))\n"
        f"import {MODULE}\n"
    )
    (tmp_path / "a.yaml").write_text("nonsense")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment_of(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
