"""Checks every node's config against its node type, and fills in the defaults."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from planasonix_orchestrator.compiler.draft import Draft, DraftStep
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.validation import model_faults
from planasonix_orchestrator.nodes.base import may_fit_later


def complete_configs(draft: Draft) -> Draft:
    """Give every step its config, complete; `missing_field`, `unknown_field`, `invalid_value` where it is wrong.

    A value that waits for a variable is checked by the run.
    """
    steps: list[DraftStep] = []
    problems: list[Problem] = []
    for step in draft.steps:
        try:
            config = step.node_type.config_model.with_templates(step.node.config)
        except ValidationError as error:
            steps.append(step)
            problems.extend(_problems(draft, step, error))
        else:
            # Without warnings: a template may stand where the model has a number.
            settings = config.model_dump(by_alias=True, mode="json", warnings="none")
            steps.append(replace(step, config=config, settings=settings))
    return draft.having(steps=steps, problems=problems)


def _problems(draft: Draft, step: DraftStep, error: ValidationError) -> Iterator[Problem]:
    details = error.errors()
    waiting = [each["input"] for each in details if may_fit_later(each)]
    stuck = [each["input"] for each in details if not may_fit_later(each)]
    for fault in model_faults(error, model=step.node_type.config_model, data=step.node.config):
        value = _value_at(step.node.config, fault.path)
        if fault.code == "invalid_value" and value in waiting and value not in stuck:
            continue
        path = step.config_path(fault.path)
        yield draft.loaded.problem(
            code=fault.code, message=f"{step.label}: {fault.message}", path=path, hint=fault.hint
        )


def _value_at(config: Any, path: Sequence[str | int]) -> Any:
    value = config
    for part in path:
        value = value[part]
    return value
