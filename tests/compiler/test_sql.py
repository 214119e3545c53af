"""Users' SQL is checked before any run, as far as variables allow."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planasonix_orchestrator.compiler.passes.sql import without_variables
from planasonix_orchestrator.graph.document import VariableDocument
from tests.compiler.folders import NUMBERS, Node, document, plan_of, problems_of

VARIABLES = {
    "word": VariableDocument(type="string"),
    "count": VariableDocument(type="integer"),
    "day": VariableDocument(type="date"),
}
DECLARED = {"word": {"default": "x"}, "count": {"type": "integer", "default": 1}}


def test_a_syntax_error_names_node_field_and_column(tmp_path: Path) -> None:
    """The message says which node and field, and where in the SQL; line and path say where in the file."""
    (problem,) = problems_of(tmp_path, _filter("n > > 2"))
    assert problem.code == "invalid_sql"
    assert problem.path == "$.nodes[1].config.expression"
    assert problem.line == 1
    assert "'b' (transform.keep), expression: " in problem.message
    assert "line 1, column 5 of the SQL" in problem.message


def test_columns_are_right_behind_a_variable(tmp_path: Path) -> None:
    """A position counts the characters that the user sees, variables as they are written."""
    (problem,) = problems_of(tmp_path, _filter("{{ count }} > > 2"))
    assert "column 15 of the SQL" in problem.message


def test_sql_may_read_only_its_inputs(tmp_path: Path) -> None:
    """A table that is no input is told with the inputs there are."""
    (problem,) = problems_of(tmp_path, _query("SELECT * FROM secrets"))
    assert "'secrets' is not an input" in problem.message


@pytest.mark.parametrize("name", ["a", "input"])
def test_an_only_input_has_two_names(tmp_path: Path, name: str) -> None:
    """SQL calls an only input `input`, or by the node that it comes from."""
    assert plan_of(tmp_path, _query(f"SELECT * FROM {name}")).step("b").config["query"].endswith(name)


def test_two_inputs_need_two_names(tmp_path: Path) -> None:
    """Inputs that SQL could not tell apart are a problem, whatever their case."""
    nodes: dict[str, Node] = {"a": NUMBERS, "b": {"type": "transform.query", "config": {"query": "SELECT 1"}}}
    (problem,) = problems_of(tmp_path, document(nodes, "a>b.x", "a>b.X"))
    assert problem.code == "ambiguous_input"


def test_sql_that_hangs_on_a_variable_waits_and_keeps_its_rows(tmp_path: Path) -> None:
    """Where a variable decides what SQL means, the run checks it, and nobody relies on it twice."""
    step = plan_of(tmp_path, _filter("{{ word }} > 2")).step("b")
    assert (step.storage, step.storage_reason) == ("table", "its SQL is known only when its variables are")


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("n > 1", "n > 1"),
        ("n > {{ count }}", "n > 0          "),
        ("n = '{{word}}'", "n = '\ue000       '"),
        ("d = DATE '{{ day }}'", "d = DATE '\ue000        '"),
        ("n = {{ word }}", None),
        ("n = {{ day }}", None),
        ("n = '{{ word }}", None),
        ("n = {{ '{{' }}", None),
        ("-- it's\n{{ word }} -- isn't", None),
        ('"{{ word }}" = 1', None),
    ],
)
def test_only_values_that_cannot_change_the_meaning_are_replaced(text: str, neutral: str | None) -> None:
    """Numbers stand in anywhere, texts and dates inside string literals, and nothing in other places."""
    assert without_variables(text, variables=VARIABLES) == neutral


@given(st.text(alphabet="n '\"-{} 1count\n", max_size=40))
def test_no_position_moves(text: str) -> None:
    """Whatever the SQL, its replacement is as long, line by line."""
    neutral = without_variables(text, variables=VARIABLES)
    assert neutral is None or [len(line) for line in neutral.split("\n")] == [len(line) for line in text.split("\n")]


def _filter(expression: str) -> str:
    nodes: dict[str, Node] = {
        "a": NUMBERS,
        "b": {"type": "keep", "config": {"expression": expression}},
    }
    return document(nodes, "a>b", variables=DECLARED)


def _query(query: str) -> str:
    nodes: dict[str, Node] = {
        "a": NUMBERS,
        "b": {"type": "transform.query", "config": {"query": query}},
    }
    return document(nodes, "a>b", variables=DECLARED)
