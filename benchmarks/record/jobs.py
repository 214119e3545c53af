"""The jobs of the seeded runs: pipeline documents compiled as in production, and runs as production makes them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, JobDefinition

# Dagster has no public way to execute a run that somebody else has created, as its own run workers do.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME, REPOSITORY_NAME
from planasonix_orchestrator.dagster_defs.jobs import build_job
from planasonix_orchestrator.dagster_defs.ops import build_ops
from planasonix_orchestrator.dagster_defs.pipeline_run import Surroundings
from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.graph.loading import load_files
from planasonix_orchestrator.nodes.catalog import load_catalog
from planasonix_orchestrator.settings import Settings

BRANCH = 20  # nodes: a source, filters and a destination
_ROWS = 1000
_REPOSITORY = RemoteRepositoryOrigin(
    code_location_origin=GrpcServerCodeLocationOrigin(host="127.0.0.1", port=4266, location_name=CODE_LOCATION_NAME),
    repository_name=REPOSITORY_NAME,
)
# What the launcher notes on each run.
_LAUNCHED = {".dagster/grpc_info": json.dumps({"host": "127.0.0.1", "port": 4266})}

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkJob:
    """A job and the config that its runs start with."""

    definition: JobDefinition
    run_config: Mapping[str, Any]


def build_benchmark_job(name: str, *, nodes: int, folder: Path) -> BenchmarkJob:
    """Return the job of a pipeline `pl_<name>` of branches of 20 nodes each; its files lie in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "numbers.csv").write_text("number,name\n" + "".join(f"{i},name {i}\n" for i in range(_ROWS)))
    document = folder / f"{name}.json"
    document.write_text(json.dumps(_document(name, branches=nodes // BRANCH)), encoding="utf-8")
    catalog = load_catalog()
    compiled = compile_folder(load_files([document], beside=None), catalog=catalog)
    if compiled.problems:
        raise RuntimeError("\n".join(str(problem) for problem in compiled.problems))
    (plan,) = compiled.plans
    definition = build_job(
        plan,
        ops=build_ops(catalog),
        surroundings=Surroundings(catalog=catalog, connections=Connections({}, environment={}), base=folder),
        settings=Settings(pipelines=folder, state=folder / "state", threads=1),
    )
    return BenchmarkJob(definition=definition, run_config={**(definition.run_config or {}), **_QUIET})


def launch(job: BenchmarkJob, *, instance: DagsterInstance) -> DagsterRun:
    """Queue and launch a run with the events of a real one, and return it; nothing executes it."""
    run = instance.create_run_for_job(
        job.definition,
        run_config=job.run_config,
        tags={**job.definition.run_tags, tag_names.TRIGGER: "api", **_LAUNCHED},
        remote_job_origin=remote_origin(job.definition.name),
    )
    instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id=run.run_id)
    starting = DagsterEvent(event_type_value=DagsterEventType.PIPELINE_STARTING.value, job_name=run.job_name)
    instance.report_dagster_event(starting, run_id=run.run_id)
    launched = instance.get_run_by_id(run.run_id)
    assert launched is not None
    return launched


def execute(job: BenchmarkJob, *, instance: DagsterInstance) -> DagsterRun:
    """Launch a run, execute it in this process and return it as it is then: a success."""
    launched = launch(job, instance=instance)
    execute_run(InMemoryJob(job.definition), launched, instance, raise_on_error=True)
    done = instance.get_run_by_id(launched.run_id)
    assert done is not None
    assert done.is_success
    return done


def remote_origin(job_name: str) -> RemoteJobOrigin:
    """Return where Dagster finds a job: in our code location, behind a code server."""
    return RemoteJobOrigin(repository_origin=_REPOSITORY, job_name=job_name)


def _document(name: str, *, branches: int) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, str]] = []
    for branch in range(branches):
        ids = [f"n{branch:02}_{place:02}" for place in range(BRANCH)]
        nodes += [
            {"id": ids[0], "type": "source.csv", "config": {"path": "numbers.csv"}},
            *(
                {"id": node_id, "type": "transform.filter", "config": {"expression": f"number % 97 <> {place}"}}
                for place, node_id in enumerate(ids[1:-1])
            ),
            {"id": ids[-1], "type": "destination.csv", "config": {"path": f"{name}_{branch}.csv"}},
        ]
        edges += [{"source": source, "target": target} for source, target in pairwise(ids)]
    return {"id": f"pl_{name}", "name": name, "nodes": nodes, "edges": edges}
