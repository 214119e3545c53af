"""Checks the variables that a caller gives a run against those that the pipeline declares."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from api_adapter.errors import Detail, InvalidRequestError


def check_variables(declared: Mapping[str, Mapping[str, Any]], *, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values, all of them declared and of their types, and none that a run must set missing.

    `declared` is the `variables` object of a pipeline document. `InvalidRequestError` names every wrong one.
    """
    details = [*_unknown(declared, given=given), *_missing(declared, given=given), *_mistyped(declared, given=given)]
    if details:
        raise InvalidRequestError("; ".join(f"{one.field}: {one.issue}" for one in details), details=details)
    return dict(given)


def _unknown(declared: Mapping[str, Any], *, given: Mapping[str, Any]) -> list[Detail]:
    known = ", ".join(sorted(declared)) or "none"
    return [
        Detail(f"variables.{name}", f"the pipeline declares no such variable; it declares: {known}")
        for name in given
        if name not in declared
    ]


def _missing(declared: Mapping[str, Mapping[str, Any]], *, given: Mapping[str, Any]) -> list[Detail]:
    return [
        Detail(f"variables.{name}", f"must be set ({_type(variable)})")
        for name, variable in declared.items()
        if (variable.get("required") or variable.get("default") is None) and given.get(name) is None
    ]


def _mistyped(declared: Mapping[str, Mapping[str, Any]], *, given: Mapping[str, Any]) -> list[Detail]:
    details = []
    for name, value in given.items():
        if name in declared and value is not None:
            kind = _type(declared[name])
            accepts, words = _TYPES[kind]
            if not accepts(value):
                details.append(Detail(f"variables.{name}", f"must be {words}"))
    return details


def _type(variable: Mapping[str, Any]) -> str:
    return str(variable.get("type") or "string")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(parse: Callable[[str], object]) -> Callable[[object], bool]:
    def accepts(value: object) -> bool:
        if not isinstance(value, str):
            return False
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return accepts


_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "string": (_is_text(str), "a string"),
    "integer": (lambda value: _is_number(value) and isinstance(value, int), "an integer"),
    "number": (_is_number, "a number"),
    "boolean": (lambda value: isinstance(value, bool), "true or false"),
    "date": (_is_text(date.fromisoformat), "a date such as 2025-03-31"),
    "timestamp": (_is_text(datetime.fromisoformat), "a timestamp such as 2025-03-31T14:00:00Z"),
}
