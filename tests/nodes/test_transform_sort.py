"""transform.sort."""

from typing import Any

import pytest
from pydantic import ValidationError

from planasonix_orchestrator.nodes.columns import MissingColumnError
from planasonix_orchestrator.nodes.transforms.filter import Filter
from planasonix_orchestrator.nodes.transforms.select import Select
from planasonix_orchestrator.nodes.transforms.sort import Sort
from tests.nodes.workbench import Workbench

TABLE = "SELECT * FROM (VALUES (2, 'b'), (NULL, 'c'), (1, 'a'), (2, 'a')) AS v(n, \"group\")"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([{"column": "n"}, {"column": "group"}], [(1, "a"), (2, "a"), (2, "b"), (None, "c")]),
        (
            [{"column": "n", "direction": "desc"}, {"column": "group", "direction": "desc"}],
            [(2, "b"), (2, "a"), (1, "a"), (None, "c")],
        ),
        ([{"column": "N", "nulls": "first"}, {"column": "group"}], [(None, "c"), (1, "a"), (2, "a"), (2, "b")]),
        (
            [{"column": "n", "direction": "desc", "nulls": "first"}, {"column": "group"}],
            [(None, "c"), (2, "a"), (2, "b"), (1, "a")],
        ),
    ],
)
def test_rows_come_in_the_order_of_the_keys(
    bench: Workbench, keys: list[dict[str, str]], expected: list[tuple[Any, ...]]
) -> None:
    """Keys count from left to right, each with its direction and place of NULLs."""
    result = bench.run(Sort(), {"keys": keys}, bench.table("t", TABLE))
    assert bench.rows(result) == expected
    assert result.rows_out == 4


def test_the_order_lasts_through_filter_select_and_storage(bench: Workbench) -> None:
    """What keeps the order of rows does so with many rows and several threads."""
    table = bench.table("t", "SELECT hash(range) AS h FROM range(300000)")
    ordered = bench.run(Sort(), {"keys": [{"column": "h"}]}, table)
    assert ordered.relation is not None
    filtered = bench.run(Filter(), {"expression": "h % 3 <> 0"}, ordered.relation)
    assert filtered.relation is not None
    selected = bench.run(Select(), {"columns": [{"name": "g", "expression": "h"}]}, filtered.relation)
    assert selected.relation is not None
    values = [row[0] for row in bench.rows(bench.session.materialise(selected.relation))]
    assert values == sorted(values)
    assert len(values) == selected.rows_out


def test_a_missing_key_is_named(bench: Workbench) -> None:
    """A key that is not a column is refused."""
    with pytest.raises(MissingColumnError, match=r"'grup'.*did you mean 'group'"):
        bench.run(Sort(), {"keys": [{"column": "grup"}]}, bench.table("t", TABLE))


def test_at_least_one_key_is_needed() -> None:
    """Sorting by nothing is refused."""
    with pytest.raises(ValidationError):
        Sort.config_model.model_validate({"keys": []})
