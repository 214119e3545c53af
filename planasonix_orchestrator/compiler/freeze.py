"""The last step of the compiler: a draft without problems becomes the frozen plan."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from planasonix_orchestrator.compiler.draft import Draft
from planasonix_orchestrator.compiler.plan import PipelinePlan, PlanExecutor, PlanVariable
from planasonix_orchestrator.graph.document import PipelineDocument, VariableDocument
from planasonix_orchestrator.graph.execution import ExecutorDocument

_WITHOUT_MEANING = {"project_id", "folder_id", "created_at", "updated_at", "status"}

_YOUNGER_KEYS = ("maxConcurrentRuns", "timeoutSeconds", "executor")  # unsaid, they leave a version what it always was
# Likewise those of schedules, of triggers and of their configs, by what they are unless somebody says otherwise.
_YOUNGER_SCHEDULE_KEYS: Mapping[str, Any] = {
    "catchUp": "latest",
    "catchUpLimit": 100,
    **dict.fromkeys(("name", "deadlineSeconds", "environmentId")),
}
_YOUNGER_TRIGGER_KEYS: Mapping[str, Any] = {"environmentId": None}
_YOUNGER_CONFIG_KEYS: Mapping[str, Any] = {
    "pathsFormat": "commas",
    "ignoreExisting": False,
    "pipelineIds": [],
    "mode": "any",
    "on": "succeeded",
    **dict.fromkeys(("endpointUrl", "region", "accessKeyId", "secretAccessKey", "eventId", "variables")),
}


def freeze(draft: Draft) -> PipelinePlan:
    """Return the plan of a draft; expects that it has no problems, and its steps in order."""
    document = draft.document
    return PipelinePlan(
        pipeline_id=document.id,
        name=document.name,
        description=document.description,
        version=document_version(document),
        tags=document.tags,
        variables=tuple(_variable(name, variable) for name, variable in document.variables.items()),
        steps=tuple(step.as_step() for step in draft.steps),
        document=document_json(document),
        schedules=document.schedules,
        triggers=document.triggers,
        max_concurrent_runs=document.max_concurrent_runs,
        timeout_seconds=document.timeout_seconds,
        executor=_executor(document.executor),
        file=str(draft.loaded.file) if draft.loaded.file else None,
        updated_at=draft.loaded.updated_at,
    )


def document_json(document: PipelineDocument) -> dict[str, Any]:
    """Return the document as JSON, defaults filled in: loaded again, it is the same document.

    What it does not say is left out. A null that it does say stays: in a config or among values it means something.
    """
    data = document.model_dump(by_alias=True, mode="json", exclude_none=True)
    for name, variable in document.variables.items():
        if "default" in variable.model_fields_set:
            data["variables"][name]["default"] = variable.default
    for node, kept in zip(document.nodes, data["nodes"], strict=True):
        kept["config"] = node.config
    for key in ("schedules", "triggers"):
        for starter, kept in zip(getattr(document, key), data[key], strict=True):
            kept["variables"] = starter.variables
    return data


def document_version(document: PipelineDocument) -> str:
    """Return the hash of what the document means: 16 hex characters.

    Equal for documents that differ only in file name, times, place in a folder, status, or where the canvas draws
    their nodes.
    """
    meaning: dict[str, Any] = document.model_dump(
        by_alias=True,
        mode="json",
        exclude={**dict.fromkeys(_WITHOUT_MEANING, True), "nodes": {"__all__": {"position"}}},
    )
    for key in _YOUNGER_KEYS:
        if meaning[key] is None:
            del meaning[key]
    for schedule in meaning["schedules"]:
        _drop_unsaid(schedule, _YOUNGER_SCHEDULE_KEYS)
    for trigger in meaning["triggers"]:
        _drop_unsaid(trigger, _YOUNGER_TRIGGER_KEYS)
        _drop_unsaid(trigger["config"], _YOUNGER_CONFIG_KEYS)
    canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _drop_unsaid(part: dict[str, Any], unsaid: Mapping[str, Any]) -> None:
    for key, value in unsaid.items():
        if part.get(key, value) == value:
            part.pop(key, None)


def _variable(name: str, variable: VariableDocument) -> PlanVariable:
    return PlanVariable(
        name=name,
        type=variable.type,
        default=variable.default,
        required=variable.required or "default" not in variable.model_fields_set,
        description=variable.description,
    )


def _executor(executor: ExecutorDocument | None) -> PlanExecutor | None:
    if executor is None:
        return None
    return PlanExecutor(type=executor.type, max_parallel_nodes=executor.max_parallel_nodes)
