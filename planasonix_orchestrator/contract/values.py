"""Values of variables: the types that a pipeline may declare, and the check of a value against one."""

import json
import math
import re
from datetime import date, datetime
from typing import Literal

VariableType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
VariableValue = str | int | float | bool | None

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?", re.IGNORECASE)


class VariableValueError(ValueError):
    """A value that is not of its variable's type."""

    def __init__(self, value: object, *, type_name: VariableType, expected: str) -> None:
        self.value = value
        self.type_name = type_name
        self.expected = expected
        super().__init__(f"{json.dumps(value, ensure_ascii=False, default=str)} is not {expected}")


def parse_value(value: object, *, type_name: VariableType) -> VariableValue:
    """Return a value in the form that its variable's type has in JSON; `VariableValueError` if it is not of the type.

    The text of a number or of true and false is taken for it; dates and timestamps are texts in ISO 8601. Null is of
    every type.
    """
    if value is None:
        return None
    parsed, expected = _PARSERS[type_name]
    result = parsed(value)
    if result is None:
        raise VariableValueError(value, type_name=type_name, expected=expected)
    return result


def _string(value: object) -> VariableValue:
    return value if isinstance(value, str) else None


def _integer(value: object) -> VariableValue:
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,100}", value.strip(), re.ASCII):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> VariableValue:
    integer = _integer(value)
    if integer is not None:
        return integer
    if isinstance(value, str) and re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", value.strip()):
        value = float(value)
    return value if isinstance(value, float) and math.isfinite(value) else None


def _boolean(value: object) -> VariableValue:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _date(value: object) -> VariableValue:
    return _iso(value, pattern=_DATE, parser=date)


def _timestamp(value: object) -> VariableValue:
    return _iso(value, pattern=_TIMESTAMP, parser=datetime)


def _iso(value: object, *, pattern: re.Pattern[str], parser: type[date]) -> VariableValue:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        return None
    try:
        parser.fromisoformat(value)
    except ValueError:
        return None
    return value


_PARSERS = {
    "string": (_string, "a text (put it in quotes)"),
    "integer": (_integer, "a whole number"),
    "number": (_number, "a number"),
    "boolean": (_boolean, "true or false"),
    "date": (_date, "a date such as 2013-01-31"),
    "timestamp": (_timestamp, "a timestamp such as 2013-01-31T06:00:00Z"),
}
