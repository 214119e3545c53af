"""Checks the variables that a caller gives a run against those that the pipeline declares, and resolves them all."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from math import isfinite
from typing import Any

from api_adapter.errors import Detail, InvalidRequestError
from planasonix_orchestrator.contract.resolution import resolve_variables
from planasonix_orchestrator.contract.values import VariableValue


def find_values(
    declared: Mapping[str, Mapping[str, Any]],
    *,
    given: Mapping[str, Any],
    environment: Mapping[str, VariableValue],
    global_: Mapping[str, VariableValue],
) -> Mapping[str, VariableValue]:
    """Return the value of every declared variable: the given one, else the environment's, the default, the global.

    `declared` is the `variables` object of a pipeline document. Null is as if it were not given. JSON has types: a
    given value must be of its variable's. `InvalidRequestError` names every variable with which something is wrong.
    """
    mistyped = {name: words for name, value in given.items() if (words := _fault(declared.get(name), value))}
    resolved = resolve_variables(declared, given=given, environment=environment, global_=global_)
    others = {fault.name: fault.message for fault in resolved.faults if fault.name not in mistyped}
    if mistyped or others:
        details = [Detail(f"variables.{name}", issue) for name, issue in {**mistyped, **others}.items()]
        raise InvalidRequestError("; ".join(f"{one.field}: {one.issue}" for one in details), details=details)
    return resolved.values


def _fault(variable: Mapping[str, Any] | None, value: object) -> str | None:
    """Return what is wrong with a given value, if it is of another type; what is not declared is told elsewhere."""
    if variable is None or value is None:
        return None
    accepts, words = _TYPES[_type(variable)]
    return None if accepts(value) else f"must be {words}"


def _type(variable: Mapping[str, Any]) -> str:
    return str(variable.get("type") or "string")


def _is_number(value: object) -> bool:
    if isinstance(value, int):  # which may be too large for `isfinite`
        return not isinstance(value, bool)
    return isinstance(value, float) and isfinite(value)


def _is_text(pattern: str, parse: Callable[[str], object]) -> Callable[[object], bool]:
    def accepts(value: object) -> bool:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.DOTALL):
            return False
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return accepts


_DATE = r"\d{4}-\d{2}-\d{2}"
_TIMESTAMP = _DATE + r"[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}(:?\d{2})?)?"

_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "string": (_is_text(".*", str.encode), "a string"),  # half a surrogate pair, which JSON can hold, is none
    "integer": (lambda value: _is_number(value) and isinstance(value, int), "an integer"),
    "number": (_is_number, "a number"),
    "boolean": (lambda value: isinstance(value, bool), "true or false"),
    "date": (_is_text(_DATE, date.fromisoformat), "a date such as 2025-03-31"),
    "timestamp": (_is_text(_TIMESTAMP, datetime.fromisoformat), "a timestamp such as 2025-03-31T14:00:00Z"),
}
