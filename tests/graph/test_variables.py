"""Templates are found, checked and replaced."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planasonix_orchestrator.graph.variables import (
    TemplateError,
    UnknownVariableError,
    render,
    variables_in,
)

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True)
TEXTS = st.text(alphabet="ab{}'\" \n", max_size=12)


def escaped(text: str) -> str:
    return text.replace("{{", "{{ '{{' }}")


@given(TEXTS)
def test_any_text_can_be_written(text: str) -> None:
    """With its double braces written as literals, a text comes out as it is and names no variable."""
    assert render(escaped(text), variables={}) == text
    assert variables_in(escaped(text)) == ()


@given(st.lists(st.tuples(NAMES, TEXTS.map(lambda text: text.replace("{", "")))))
def test_templates_in_a_text_are_found_in_order(parts: list[tuple[str, str]]) -> None:
    """Each name is told once, where it comes first; rendering puts the values in and leaves the rest alone."""
    text = "".join(f"{{{{ {name} }}}}{rest}" for name, rest in parts)
    assert variables_in(text) == tuple(dict.fromkeys(name for name, _ in parts))
    expected = "".join(f"<{name}>{rest}" for name, rest in parts)
    assert render(text, variables={name: f"<{name}>" for name, _ in parts}) == expected


@given(st.text(max_size=8), st.lists(TEXTS))
def test_values_are_not_rendered_again(value: str, keys: list[str]) -> None:
    """Braces in a value or in a key are text."""
    document = {key: ["{{ x }}", 1, None, {"a": "{{x}}"}] for key in keys}
    assert render(document, variables={"x": value}) == {key: [value, 1, None, {"a": value}] for key in keys}


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (42, "42"), (0.5, "0.5"), (None, ""), ("a b", "a b")]
)
def test_a_value_becomes_text(value: Any, text: str) -> None:
    """Also where the template is the whole string."""
    assert render("{{ v }}", variables={"v": value}) == text
    assert render("<{{v}}>", variables={"v": value}) == f"<{text}>"


def test_closing_braces_are_text() -> None:
    """SQL has them on their own."""
    assert render("{'a': {'b': 1}}", variables={}) == "{'a': {'b': 1}}"


@pytest.mark.parametrize(
    ("text", "column"), [("{{", 1), ("a {{ b c }}", 3), ("{{{ a }}}", 1), ("{{ 1a }}", 1), ("{{}}", 1), ("{{ a }", 1)]
)
def test_braces_that_begin_no_template_are_refused(text: str, column: int) -> None:
    """The error says where they stand and how to write them."""
    with pytest.raises(TemplateError, match=rf"character {column} begins no template.*\{{\{{ name \}}\}}") as error:
        variables_in(text)
    assert error.value.column == column
    with pytest.raises(TemplateError):
        render([text], variables={"a": 1, "b": 1})


def test_a_variable_without_a_value_is_refused() -> None:
    """The error names it, and those that are known."""
    with pytest.raises(UnknownVariableError, match=r"'c' has no value \(known: a, b\)"):
        render("{{ c }}", variables={"b": 1, "a": 2})
