"""`{{ name }}` in config strings: found, checked and replaced; and the check of a value against its declared type.

A template holds a variable's name or a text in quotes, which stands for itself: `{{ '{{' }}` writes two braces.
Two closing braces on their own are text, since SQL has them (`{'a': {'b': 1}}`).
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, Literal

from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.graph.model import VariableValue

VariableType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]

_TEMPLATE = re.compile(
    r"""\{\{(?P<whole>\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\s*\}\})?"""
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?", re.IGNORECASE)


class TemplateError(PlanasonixError):
    """Two opening braces that begin no template; `column` counts from 1."""

    def __init__(self, text: str, *, column: int) -> None:
        self.text = text
        self.column = column
        super().__init__(
            f"'{{{{' at character {column} begins no template: write {{{{ name }}}}, or {{{{ '{{{{' }}}} for the braces"
        )


class UnknownVariableError(PlanasonixError):
    """A template names a variable that has no value here."""

    def __init__(self, name: str, *, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(f"variable {name!r} has no value (known: {', '.join(self.known) or 'none'})")


class VariableValueError(PlanasonixError):
    """A value that is not of its variable's type."""

    def __init__(self, value: object, *, type_name: VariableType, expected: str) -> None:
        self.value = value
        self.type_name = type_name
        self.expected = expected
        super().__init__(f"{json.dumps(value, ensure_ascii=False, default=str)} is not {expected}")


def variables_in(text: str) -> tuple[str, ...]:
    """Return the names that a text's templates use, each once, in order; `TemplateError` if one is malformed."""
    return tuple(dict.fromkeys(match["name"] for match in _templates(text) if match["name"]))


def render(value: Any, *, variables: Mapping[str, VariableValue]) -> Any:
    """Return a JSON value with the templates of all its strings replaced; keys of mappings stay as they are.

    A variable's value becomes text: `true`, `42`, and nothing for null. Raises `TemplateError`, `UnknownVariableError`.
    """
    if isinstance(value, str):
        return _render_text(value, variables=variables) if "{{" in value else value
    if isinstance(value, Mapping):
        return {key: render(item, variables=variables) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [render(item, variables=variables) for item in value]
    return value


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


def _templates(text: str) -> Iterator[re.Match[str]]:
    for match in _TEMPLATE.finditer(text):
        if match["whole"] is None:
            raise TemplateError(text, column=match.start() + 1)
        yield match


def _render_text(text: str, *, variables: Mapping[str, VariableValue]) -> str:
    parts = []
    end = 0
    for match in _templates(text):
        parts.append(text[end : match.start()])
        parts.append(_replacement(match, variables=variables))
        end = match.end()
    return "".join((*parts, text[end:]))


def _replacement(match: re.Match[str], *, variables: Mapping[str, VariableValue]) -> str:
    name = match["name"]
    if name is None:
        return match["single"] or match["double"] or ""
    if name not in variables:
        raise UnknownVariableError(name, known=variables)
    value = variables[name]
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


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
