"""Environments as the folder declares them, in the form in which runs and the API find theirs."""

from planasonix_orchestrator.contract.pipelines import PublishedEnvironment, PublishedEnvironments, PublishedExecutor
from planasonix_orchestrator.graph.beside import LoadedEnvironments
from planasonix_orchestrator.graph.environments import EnvironmentDocument
from planasonix_orchestrator.graph.execution import ExecutorDocument


def build_environments(loaded: LoadedEnvironments) -> PublishedEnvironments:
    """Return the environments of a folder as `contract.resolution` takes them."""
    return {
        "variables": dict(loaded.document.variables),
        "default": loaded.document.default,
        "environments": [_environment(id_, each) for id_, each in loaded.document.environments.items()],
        "faulty": list(loaded.faulty),
        "readable": loaded.readable,
    }


def _environment(id_: str, document: EnvironmentDocument) -> PublishedEnvironment:
    return {
        "id": id_,
        "name": document.name or id_,
        "variables": dict(document.variables),
        "connections": dict(document.connections),
        "maxConcurrentRuns": document.max_concurrent_runs,
        "executor": _executor(document.executor),
    }


def _executor(document: ExecutorDocument | None) -> PublishedExecutor | None:
    if document is None:
        return None
    return {"type": document.type, "maxParallelNodes": document.max_parallel_nodes}
