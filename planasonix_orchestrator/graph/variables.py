"""`{{ name }}` in config strings: found, checked and replaced.

A template holds a variable's name or a text in quotes, which stands for itself: `{{ '{{' }}` writes two braces.
Two closing braces on their own are text, since SQL has them (`{'a': {'b': 1}}`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.graph.model import VariableValue

_TEMPLATE = re.compile(
    r"""\{\{(?P<whole>\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\s*\}\})?"""
)


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
