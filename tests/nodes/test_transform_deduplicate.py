"""transform.deduplicate."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planasonix_orchestrator.nodes.columns import MissingColumnError
from planasonix_orchestrator.nodes.transforms.deduplicate import Deduplicate
from tests.nodes.workbench import PROPERTY, Workbench

Row = tuple[str | None, int | None, int]
ROWS: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(st.sampled_from(["a", "é", None]), st.none() | st.integers(0, 2), st.integers(0, 1)), max_size=12
)


def naive(rows: list[Row], *, keep: str, ordered: bool) -> list[Row]:
    """The rule in Python: order equal rows (no value last), keep one, in the order in which rows came."""
    numbered = list(enumerate(rows))
    if ordered:
        numbered.sort(key=lambda each: (each[1][1] is None, each[1][1] or 0))
    chosen: dict[str | None, int] = {}
    for number, row in numbered if keep == "first" else reversed(numbered):
        chosen.setdefault(row[0], number)
    return [row for number, row in enumerate(rows) if number in chosen.values()]


@PROPERTY
@given(rows=ROWS, keep=st.sampled_from(["first", "last"]), ordered=st.booleans())
def test_one_row_of_each_key_goes_on_as_python_says(
    shared_bench: Workbench, rows: list[Row], keep: str, ordered: bool
) -> None:
    """The first or last row of each key goes on, in the given order and then that of arrival; NULL is a key."""
    relation = shared_bench.values(rows, types=("VARCHAR", "INTEGER", "INTEGER"))
    config: dict[str, Any] = {"keys": ["c0"], "keep": keep}
    if ordered:
        config["orderBy"] = [{"column": "c1"}]
    assert shared_bench.rows(shared_bench.run(Deduplicate(), config, relation)) == naive(
        rows, keep=keep, ordered=ordered
    )


@PROPERTY
@given(rows=ROWS)
def test_without_keys_all_columns_count(shared_bench: Workbench, rows: list[Row]) -> None:
    """Without keys, rows that are equal in all columns go on once."""
    relation = shared_bench.values(rows, types=("VARCHAR", "INTEGER", "INTEGER"))
    assert shared_bench.rows(shared_bench.run(Deduplicate(), {}, relation)) == list(dict.fromkeys(rows))


def test_a_column_of_any_name_survives(bench: Workbench) -> None:
    """No column is mistaken for the node's own numbering."""
    relation = bench.table("t", 'SELECT 1 AS row_number, 2 AS "ROW_NUMBER_", 3 AS "a ""b"""')
    result = bench.run(Deduplicate(), {"keys": ['a "b"']}, relation)
    assert bench.columns(result) == ["row_number INTEGER", "ROW_NUMBER_ INTEGER", 'a "b" INTEGER']
    assert bench.rows(result) == [(1, 2, 3)]


def test_many_rows_keep_their_order(bench: Workbench) -> None:
    """Arrival order holds for many rows and several threads."""
    relation = bench.table("t", "SELECT range % 100000 AS k, range AS n FROM range(300000)")
    rows = bench.rows(bench.run(Deduplicate(), {"keys": ["k"], "keep": "last"}, relation))
    assert rows == [(number % 100000, number) for number in range(200000, 300000)]


def test_a_missing_key_is_named(bench: Workbench) -> None:
    """A key that is not a column is refused."""
    with pytest.raises(MissingColumnError):
        bench.run(Deduplicate(), {"keys": ["x"]}, bench.table("t", "SELECT 1 AS n"))
