"""transform.summarize."""

import statistics
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.columns import MissingColumnError
from planasonix_orchestrator.nodes.transforms.summarize import Summarize
from tests.nodes.workbench import Workbench

TABLE = """SELECT * FROM (VALUES
    ('a', 1, 1.5, 3), ('a', 2, 2.5, 2), ('a', 2, NULL, 1), (NULL, 5, 0.5, 1), (NULL, NULL, 0.5, 2)
) AS v("the group", n, d, "order")"""


def aggregate(bench: Workbench, function: str, column: str | None = "n", **more: Any) -> list[tuple[Any, ...]]:
    """The aggregate per group, group `a` first."""
    aggregations = [{"function": function, "column": column, "as": "x"}]
    config = {"groupBy": ["the group"], "aggregations": aggregations, **more}
    rows = bench.rows(bench.run(Summarize(), config, bench.table("t", TABLE)))
    return sorted(rows, key=lambda row: row[0] is None)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("sum", [("a", 5), (None, 5)]),
        ("avg", [("a", pytest.approx(5 / 3)), (None, 5.0)]),
        ("min", [("a", 1), (None, 5)]),
        ("max", [("a", 2), (None, 5)]),
        ("count", [("a", 3), (None, 1)]),
        ("count_distinct", [("a", 2), (None, 1)]),
        ("stddev", [("a", pytest.approx(statistics.stdev([1, 2, 2]))), (None, None)]),
        ("variance", [("a", pytest.approx(statistics.variance([1, 2, 2]))), (None, None)]),
    ],
)
def test_each_function_is_what_its_name_says(bench: Workbench, function: str, expected: list[tuple[Any, ...]]) -> None:
    """Aggregates are per group, NULL makes a group of its own, and NULL values do not take part."""
    assert aggregate(bench, function) == expected


def test_count_without_a_column_counts_rows(bench: Workbench) -> None:
    """Rows count whatever is in them."""
    assert aggregate(bench, "count", None) == [("a", 3), (None, 2)]


def test_first_and_last_follow_the_order(bench: Workbench) -> None:
    """First and last are those in the given order, even where they are NULL."""
    assert aggregate(bench, "first", "d", orderBy=[{"column": "order"}]) == [("a", None), (None, Decimal("0.5"))]
    assert aggregate(bench, "last", "n", orderBy=[{"column": "order"}]) == [("a", 1), (None, None)]
    assert aggregate(bench, "first", "n", orderBy=[{"column": "order", "direction": "desc"}]) == [
        ("a", 1),
        (None, None),
    ]


def test_types_are_ones_that_databases_have(bench: Workbench) -> None:
    """The sum of whole numbers is a BIGINT, of decimals an exact decimal."""
    config = {"aggregations": [{"function": "sum", "column": column} for column in ("n", "d")]}
    result = bench.run(Summarize(), config, bench.table("t", TABLE))
    assert bench.columns(result) == ["sum_n BIGINT", "sum_d DECIMAL(38,1)"]
    assert bench.rows(result) == [(10, Decimal("5.0"))]


def test_a_sum_that_is_too_great_is_an_error(bench: Workbench) -> None:
    """A sum never overflows silently."""
    table = bench.table("t", f"SELECT {2**62} AS n FROM range(3)")
    with pytest.raises(NodeError, match=r"INT64"):
        bench.run(Summarize(), {"aggregations": [{"function": "sum", "column": "n"}]}, table)


def test_without_groups_there_is_one_row(bench: Workbench) -> None:
    """No rows at all make one row too, and groups alone are allowed."""
    empty = bench.table("t", "SELECT 1 AS n WHERE false")
    result = bench.run(
        Summarize(), {"aggregations": [{"function": "count"}, {"function": "max", "column": "n"}]}, empty
    )
    assert bench.rows(result) == [(0, None)]
    assert bench.rows(bench.run(Summarize(), {"groupBy": ["n"]}, empty)) == []


def test_a_missing_column_is_named(bench: Workbench) -> None:
    """Groups and aggregates name columns that are there."""
    with pytest.raises(MissingColumnError, match=r"'grup'"):
        bench.run(Summarize(), {"groupBy": ["grup"]}, bench.table("t", TABLE))
    with pytest.raises(MissingColumnError, match=r"'m'"):
        bench.run(Summarize(), {"aggregations": [{"function": "sum", "column": "m"}]}, bench.table("t", TABLE))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "name columns to group by"),
        ({"aggregations": [{"function": "sum"}]}, "sum needs a column"),
        ({"groupBy": ["count"], "aggregations": [{"function": "count"}]}, "named 'count'"),
        ({"aggregations": [{"function": "summ", "column": "n"}]}, "Input should be 'sum'"),
    ],
)
def test_a_config_that_means_nothing_is_refused(config: dict[str, Any], message: str) -> None:
    """What can't be right is refused before any run."""
    with pytest.raises(ValidationError, match=message):
        Summarize.config_model.model_validate(config)
