"""Checks every node's config against its node type, and fills in the defaults."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from planasonix_orchestrator.compiler.draft import Draft, DraftStep
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.validation import model_faults


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
    for fault in model_faults(error, model=step.node_type.config_model, data=step.node.config):
        if fault.code == "invalid_value" and _waits_for_variable(step.node.config, fault.path):
            continue
        path = step.config_path(fault.path)
        yield draft.loaded.problem(
            code=fault.code, message=f"{step.label}: {fault.message}", path=path, hint=fault.hint
        )


def _waits_for_variable(config: Any, path: Sequence[str | int]) -> bool:
    value = config
    for part in path:
        value = value[part]
    return isinstance(value, str) and "{{" in value
