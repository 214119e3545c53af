"""Checks the variables that a caller gives a run against those that the pipeline declares."""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from math import isfinite
from typing import Any

from api_adapter.errors import Detail, InvalidRequestError


def check_variables(
    declared: Mapping[str, Mapping[str, Any]], *, required: Collection[str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the given values, all of them declared and of their types, and no required one missing.

    `declared` is the `variables` object of a pipeline document. Null is as if it were not given: the default counts.
    `InvalidRequestError` names every wrong one.
    """
    values = {name: value for name, value in given.items() if value is not None or name not in declared}
    details = [
        *_unknown(declared, given=values),
        *_missing(declared, required=required, given=values),
        *_mistyped(declared, given=values),
    ]
    if details:
        raise InvalidRequestError("; ".join(f"{one.field}: {one.issue}" for one in details), details=details)
    return values


def _unknown(declared: Mapping[str, Any], *, given: Mapping[str, Any]) -> list[Detail]:
    known = ", ".join(sorted(declared)) or "none"
    return [
        Detail(f"variables.{name}", f"the pipeline declares no such variable; it declares: {known}")
        for name in given
        if name not in declared
    ]


def _missing(
    declared: Mapping[str, Mapping[str, Any]], *, required: Collection[str], given: Mapping[str, Any]
) -> list[Detail]:
    return [
        Detail(f"variables.{name}", f"must be set ({_type(declared.get(name, {}))})")
        for name in required
        if name not in given
    ]


def _mistyped(declared: Mapping[str, Mapping[str, Any]], *, given: Mapping[str, Any]) -> list[Detail]:
    details = []
    for name, value in given.items():
        if name in declared:
            kind = _type(declared[name])
            accepts, words = _TYPES[kind]
            if not accepts(value):
                details.append(Detail(f"variables.{name}", f"must be {words}"))
    return details


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
