"""transform.union."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.columns import MissingColumnError
from planasonix_orchestrator.nodes.transforms.union import Union
from tests.nodes.workbench import PROPERTY, Workbench

FIRST = "SELECT 1 AS a, 'x' AS b"
SECOND = "SELECT 'y' AS B, 2.5 AS c"


def test_by_name_every_column_of_any_input_is_there(bench: Workbench) -> None:
    """Columns meet by name, in whatever case; what an input lacks is NULL; types widen; the order of edges is kept."""
    result = bench.run(Union(), {}, {"input": [bench.table("f", FIRST), bench.table("s", SECOND)]})
    assert bench.columns(result) == ["a INTEGER", "b VARCHAR", "c DECIMAL(2,1)"]
    assert [(a, b, c and float(c)) for a, b, c in bench.rows(result)] == [(1, "x", None), (None, "y", 2.5)]
    assert (result.rows_in, result.rows_out) == (2, 2)


def test_by_name_missing_columns_may_fail_the_run(bench: Workbench) -> None:
    """If inputs must agree, the error names the input and the column."""
    with pytest.raises(MissingColumnError, match=r"input 'f' has no column 'c'"):
        bench.run(Union(), {"missingColumns": "fail"}, {"input": [bench.table("f", FIRST), bench.table("s", SECOND)]})


def test_by_position_the_first_input_names_the_columns(bench: Workbench) -> None:
    """By position, names do not matter."""
    third = bench.table("t", "SELECT 7 AS x, 'z' AS y")
    result = bench.run(Union(), {"by": "position"}, {"input": [bench.table("f", FIRST), third]})
    assert bench.columns(result) == ["a INTEGER", "b VARCHAR"]
    assert bench.rows(result) == [(1, "x"), (7, "z")]


def test_by_position_the_numbers_of_columns_must_be_equal(bench: Workbench) -> None:
    """By position, inputs of different widths are refused with both widths."""
    wide = bench.table("w", "SELECT 1 AS a, 2 AS b, 3 AS c")
    with pytest.raises(NodeError, match=r"input 'f' has 2 columns, input 'w' has 3"):
        bench.run(Union(), {"by": "position"}, {"input": [bench.table("f", FIRST), wide]})


def test_many_inputs_are_no_problem(bench: Workbench) -> None:
    """A union of hundreds of inputs works."""
    relation = bench.table("f", FIRST)
    assert bench.run(Union(), {}, {"input": [relation] * 500}).rows_out == 500


ROWS = st.lists(st.tuples(st.none() | st.integers(0, 2), st.sampled_from(["a", "é", None])), max_size=5)


@PROPERTY
@given(inputs=st.lists(ROWS, min_size=1, max_size=3), distinct=st.booleans())
def test_a_union_is_what_python_says(
    shared_bench: Workbench, inputs: list[list[tuple[int | None, str | None]]], distinct: bool
) -> None:
    """All rows of all inputs go on, or each different one once."""
    relations = [shared_bench.values(rows, types=("INTEGER", "VARCHAR")) for rows in inputs]
    result = shared_bench.run(Union(), {"distinct": distinct}, {"input": relations})
    every = [row for rows in inputs for row in rows]
    assert Counter(shared_bench.rows(result)) == Counter(set(every) if distinct else every)
