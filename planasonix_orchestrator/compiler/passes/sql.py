"""Checks the SQL that users wrote, and finds out whether it gives other rows each time."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import TokenError

from planasonix_orchestrator.compiler.draft import Draft, DraftStep
from planasonix_orchestrator.engine.sql import SqlError, fold, is_volatile, parse_expression, parse_query
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.document import VariableDocument
from planasonix_orchestrator.nodes.base import UserSql

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}")
_WHOLE_LITERALS = {"integer": "0", "number": "0", "boolean": "true"}
_SOME_TEXT = "\ue000"  # a character of private use, found in no SQL


def check_sql(draft: Draft) -> Draft:
    """Add `invalid_sql` for each text that can't run, and `ambiguous_input`; note in each step whether its SQL varies.

    Texts with variables are checked with neutral values in their place where any value would pass or fail alike;
    the others are checked by the run.
    """
    steps: list[DraftStep] = []
    problems: list[Problem] = []
    for step in draft.steps:
        reason = None
        for sql in step.node_type.user_sql(step.config) if step.config else ():
            problems += _name_problems(draft, step, sql)
            try:
                reason = _varies(step, sql, variables=draft.document.variables) or reason
            except SqlError as error:
                problems.append(_problem(draft, step, sql, error))
        steps.append(replace(step, sql_reason=reason))
    return draft.having(steps=steps, problems=problems)


def without_variables(text: str, *, variables: Mapping[str, VariableDocument]) -> str | None:
    """Return SQL with every template replaced by a neutral value as long, so that positions stay as they are.

    Sound are numbers and truth values anywhere, and any value inside a string literal. None if a template stands
    elsewhere, for there its value decides what the SQL means.
    """
    if "{{" not in text:
        return text
    neutral = _VARIABLE.sub(lambda match: _neutral(match, variables).ljust(len(match.group())), text)
    if "{{" in neutral:
        return None
    try:
        tokens = sqlglot.tokenize(neutral, read="duckdb")
    except TokenError:
        return None
    if any(_SOME_TEXT in token.text and token.token_type.name != "STRING" for token in tokens):
        return None
    return neutral


def _neutral(match: re.Match[str], variables: Mapping[str, VariableDocument]) -> str:
    variable = variables.get(match.group(1))
    return _WHOLE_LITERALS.get(variable.type, _SOME_TEXT) if variable else _SOME_TEXT


def _varies(step: DraftStep, sql: UserSql, *, variables: Mapping[str, VariableDocument]) -> str | None:
    """Return why the rows may differ from one reading to the next, None if they don't; `SqlError` if it can't run."""
    text = without_variables(sql.text, variables=variables)
    if text is None:
        return "its SQL is known only when its variables are"
    names = [each.name for each in step.inputs]
    if sql.kind == "query":
        parsed: exp.Expr = parse_query(text, inputs=[*names, "input"] if len(names) == 1 else names)
    else:
        parsed = parse_expression(text)
    return "its SQL may give other rows each time" if is_volatile(parsed) else None


def _problem(draft: Draft, step: DraftStep, sql: UserSql, error: SqlError) -> Problem:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in sql.path).removeprefix(".")
    return draft.loaded.problem(
        code="invalid_sql",
        message=f"{step.label}, {field}: {error}",
        path=step.config_path(sql.path),
        hint=error.hint,
    )


def _name_problems(draft: Draft, step: DraftStep, sql: UserSql) -> Iterator[Problem]:
    if sql.kind != "query":
        return
    for name, count in Counter(fold(each.name) for each in step.inputs).items():
        if count > 1:
            yield draft.loaded.problem(
                code="ambiguous_input",
                message=f"{step.label}: SQL would call {count} of its inputs {name!r}",
                path=("nodes", step.place),
                hint="give their edges targetPorts, by which SQL then calls them",
            )
