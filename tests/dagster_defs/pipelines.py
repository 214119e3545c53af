"""Documents compiled into jobs for the tests of Dagster's side."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster import DagsterEvent, DagsterInstance, ExecuteInProcessResult, JobDefinition, RepositoryDefinition
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.error import SerializableErrorInfo

from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.dagster_defs.jobs import build_job
from planasonix_orchestrator.dagster_defs.ops import build_ops
from planasonix_orchestrator.dagster_defs.pipeline_run import Surroundings
from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.graph.loading import load_folder
from planasonix_orchestrator.nodes.catalog import NodeCatalog
from planasonix_orchestrator.settings import Settings
from tests.dagster_defs.nodes import build_catalog

Document = Mapping[str, Any]


def document(nodes: list[Document], *edges: tuple[str, ...], name: str = "numbers", **more: Any) -> Document:
    """A document of the nodes, with edges as (source, target) or (source, target, target port)."""
    keys = ("source", "target", "targetPort")
    return {
        "id": f"pl_{name.replace(' ', '_')}",
        "name": name,
        "nodes": nodes,
        "edges": [dict(zip(keys, edge, strict=False)) for edge in edges],
        **more,
    }


def node(node_id: str, type_: str, /, *, retries: int = 0, timeout: float | None = None, **config: Any) -> Document:
    """A node; keywords are its config."""
    limit = {} if timeout is None else {"timeoutSeconds": timeout}
    return {"id": node_id, "type": type_, "config": config, "retries": retries, **limit}


def settings_of(folder: Path) -> Settings:
    """Settings with the pipelines and the state in a folder of the test."""
    return Settings(pipelines=folder, state=folder / ".state")


def plan_of(pipeline: Document, *, folder: Path, catalog: NodeCatalog | None = None) -> PipelinePlan:
    """The plan of a document that has no problems."""
    (folder / f"{pipeline['id']}.json").write_text(json.dumps(pipeline))
    compiled = compile_folder(load_folder(folder), catalog=catalog or build_catalog())
    assert not compiled.problems, [str(problem) for problem in compiled.problems]
    return next(plan for plan in compiled.plans if plan.pipeline_id == pipeline["id"])


def job_of(pipeline: Document, *, folder: Path, catalog: NodeCatalog | None = None) -> JobDefinition:
    """The job of a document."""
    catalog = catalog or build_catalog()
    return build_job(
        plan_of(pipeline, folder=folder, catalog=catalog),
        ops=build_ops(catalog),
        surroundings=Surroundings(catalog=catalog, connections=Connections({}, environment={}), base=folder),
        settings=settings_of(folder),
    )


def execute(job: JobDefinition, **options: Any) -> ExecuteInProcessResult:
    """Run a job here and now, failed or not."""
    return job.execute_in_process(**{"instance": DagsterInstance.ephemeral(), "raise_on_error": False, **options})


def metadata_of(result: ExecuteInProcessResult, op_name: str) -> dict[str, Any]:
    """The metadata on the output of an op."""
    (event,) = events_of(result, "STEP_OUTPUT", op_name)
    return {key: value.value for key, value in event.step_output_data.metadata.items()}


def events_of(result: ExecuteInProcessResult, type_: str, op_name: str | None = None) -> list[DagsterEvent]:
    """The events of a type, of one op if it is named."""
    return [
        event
        for event in result.all_events
        if event.event_type_value == type_ and (op_name is None or event.step_key == op_name)
    ]


def failure_of(result: ExecuteInProcessResult, op_name: str) -> str:
    """The message with which an op has failed, as the event log shows it."""
    (event,) = events_of(result, "STEP_FAILURE", op_name)
    error = event.step_failure_data.error
    assert error is not None
    return error.message


def log_of(instance: DagsterInstance, run_id: str) -> list[tuple[str | None, str]]:
    """What nodes have logged: step key and text."""
    records = instance.all_logs(run_id)
    return [(record.step_key, record.user_message) for record in records if record.dagster_event is None]


def causes_of(error: SerializableErrorInfo | None) -> str:
    """The messages of an error and of all that caused it."""
    messages = []
    while error is not None:
        messages.append(error.message)
        error = error.cause
    return "".join(messages)


def published(repository: RepositoryDefinition | RepositorySnap, key: str) -> Any:
    """What a repository publishes under a metadata key, as JSON."""
    assert repository.metadata is not None
    return repository.metadata[key].value
