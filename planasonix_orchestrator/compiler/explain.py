"""The plan, explained: as JSON for machines, as an outline for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planasonix_orchestrator.compiler.plan import PipelinePlan, PlanVariable, Step, StepInput
from planasonix_orchestrator.contract.pipelines import ExecutorType


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the outline, and the lines that belong to it."""

    text: str
    children: "tuple[Entry, ...]" = ()


def explain(plan: PipelinePlan) -> dict[str, Any]:
    """Return the plan as JSON: order, branches, stages, and each step with its inputs and where its rows are kept."""
    readers = _readers(plan)
    return {
        "pipelineId": plan.pipeline_id,
        "name": plan.name,
        "jobName": plan.job_name,
        "version": plan.version,
        "variables": [
            {"name": each.name, "type": each.type, "default": each.default, "required": each.required}
            for each in plan.variables
        ],
        "maxConcurrentRuns": plan.max_concurrent_runs,
        "timeoutSeconds": plan.timeout_seconds,
        "executor": plan.executor
        and {"type": plan.executor.type, "maxParallelNodes": plan.executor.max_parallel_nodes},
        "order": [step.node_id for step in plan.steps],
        "branches": [{"nodeId": node_id, "into": into} for node_id, into in readers.items() if len(into) > 1],
        "stages": [
            {
                "stage": stage,
                "steps": [step.node_id for step in steps],
                "keeps": [step.node_id for step in steps if step.storage == "table"],
                "writes": [step.node_id for step in steps if step.storage == "none"],
            }
            for stage, steps in _stages(plan).items()
        ],
        "steps": [_step_json(step, readers=readers[step.node_id]) for step in plan.steps],
    }


def outline(plan: PipelinePlan) -> Entry:
    """Return the plan as lines: what is in it, then stage by stage, with each step's number in the order."""
    return Entry(
        f"{plan.name} ({plan.pipeline_id}), version {plan.version}, Dagster job {plan.job_name}",
        (
            Entry(_summary(plan)),
            *_section("variables", [_variable_text(each) for each in plan.variables]),
            *_section("runs", _run_texts(plan)),
            *_section("branches", _branch_texts(plan)),
            *_stage_entries(plan),
        ),
    )


def explain_text(plan: PipelinePlan) -> str:
    """Return the outline as plain text, indented by two spaces a level."""
    return "".join(f"{line}\n" for line in _lines(outline(plan), indent=""))


def _lines(entry: Entry, *, indent: str) -> Iterator[str]:
    yield indent + entry.text
    for child in entry.children:
        yield from _lines(child, indent=indent + "  ")


def _readers(plan: PipelinePlan) -> dict[str, list[str]]:
    readers: dict[str, list[str]] = {step.node_id: [] for step in plan.steps}
    for step in plan.steps:
        for node_id in dict.fromkeys(each.node_id for each in step.inputs):
            readers[node_id].append(step.node_id)
    return readers


def _stages(plan: PipelinePlan) -> dict[int, list[Step]]:
    stages: dict[int, list[Step]] = {}
    for step in plan.steps:
        stages.setdefault(step.stage, []).append(step)
    return stages


def _step_json(step: Step, *, readers: Sequence[str]) -> dict[str, Any]:
    return {
        "nodeId": step.node_id,
        "type": step.type,
        "name": step.name,
        "stage": step.stage,
        "inputs": [
            {"port": each.port, "nodeId": each.node_id, "output": each.output, "name": each.name}
            for each in step.inputs
        ],
        "readers": list(readers),
        "storage": step.storage,
        "storageReason": step.storage_reason,
        "retries": step.retries,
        "timeoutSeconds": step.timeout_seconds,
        "config": dict(step.config),
    }


def _summary(plan: PipelinePlan) -> str:
    kept = sum(step.storage == "table" for step in plan.steps)
    written = sum(step.storage == "none" for step in plan.steps)
    return (
        f"{_counted(len(plan.steps), 'step')} in {_counted(len(_stages(plan)), 'stage')}, "
        f"{_counted(written, 'destination')}; rows are kept after {_counted(kept, 'step')}"
    )


def _section(title: str, texts: Iterable[str]) -> Iterator[Entry]:
    entries = tuple(Entry(text) for text in texts)
    if entries:
        yield Entry(title, entries)


def _variable_text(variable: PlanVariable) -> str:
    default = "" if variable.default is None else f", default {variable.default!r}"
    required = ", each run must set it" if variable.required else ""
    return f"{variable.name}: {variable.type}{default}{required}"


def _run_texts(plan: PipelinePlan) -> Iterator[str]:
    if plan.max_concurrent_runs is not None:
        yield f"{plan.max_concurrent_runs} at a time, further ones wait in the queue"
    if plan.timeout_seconds is not None:
        yield f"stopped after {plan.timeout_seconds:g} s"
    if plan.executor is not None and plan.executor.type is not None:
        yield _EXECUTORS[plan.executor.type]
    if plan.executor is not None and plan.executor.max_parallel_nodes is not None:
        yield f"{_counted(plan.executor.max_parallel_nodes, 'node')} at a time"


_EXECUTORS: Mapping[ExecutorType, str] = {
    "threads": "nodes work in threads of the run's process",
    "in_process": "nodes work one after the other in the run's process",
    "multiprocess": "nodes work in a process each",
}


def _branch_texts(plan: PipelinePlan) -> list[str]:
    return [
        f"{node_id} goes on to {', '.join(into[:-1])} and {into[-1]}"
        for node_id, into in _readers(plan).items()
        if len(into) > 1
    ]


def _stage_entries(plan: PipelinePlan) -> Iterator[Entry]:
    numbers = {step.node_id: number for number, step in enumerate(plan.steps, start=1)}
    for stage, steps in _stages(plan).items():
        together = f": {_counted(len(steps), 'step')}, pushed together" if len(steps) > 1 else ""
        entries = tuple(_step_entry(step, number=numbers[step.node_id]) for step in steps)
        yield Entry(f"stage {stage}{together}", entries)


def _step_entry(step: Step, *, number: int) -> Entry:
    name = f' "{step.name}"' if step.name else ""
    details = [_input_text(each) for each in step.inputs]
    details.append(_STORAGE[step.storage] + step.storage_reason)
    if step.retries:
        details.append(f"tried again up to {_counted(step.retries, 'time')}")
    if step.timeout_seconds is not None:
        details.append(f"stopped after {step.timeout_seconds:g} s")
    return Entry(f"{number}. {step.node_id}: {step.type}{name}", tuple(Entry(text) for text in details))


_STORAGE: Mapping[str, str] = {"view": "view: ", "table": "rows kept: ", "none": "destination: "}


def _input_text(each: StepInput) -> str:
    output = "" if each.output == "output" else f".{each.output}"
    name = "" if each.name == each.node_id else f", called {each.name}"
    return f"{each.port} from {each.node_id}{output}{name}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
