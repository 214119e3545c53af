"""transform.sql; what its SQL may not do is in tests/engine/test_sql.py."""

import pytest

from planasonix_orchestrator.engine.sql import SqlError
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.transforms.sql import Sql
from tests.nodes.workbench import Workbench

ORDERS = "SELECT * FROM (VALUES (1, 10), (2, 20), (2, 30)) AS v(customer, amount)"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT sum(amount)::INT FROM input", [(60,)]),
        ("FROM orders SELECT customer ORDER BY amount DESC; ", [(2,), (2,), (1,)]),
        ("WITH input AS (SELECT * FROM input WHERE customer = 2) SELECT count(*) FROM input -- done", [(2,)]),
        ("SELECT o.amount FROM ORDERS AS o, (VALUES (10)) AS v(x) WHERE o.amount = x", [(10,)]),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r",
            [(1,), (2,), (3,)],
        ),
        ("SELECT * FROM input PIVOT (sum(amount)::INT FOR customer IN (1, 2))", [(10, 50)]),
        ("SELECT unnest(list_transform([1, 2], lambda x: x + 1))", [(2,), (3,)]),
    ],
)
def test_an_only_input_is_called_input_too(bench: Workbench, query: str, expected: list[tuple[int, ...]]) -> None:
    """The query sees its input under its name and as `input`, and its own CTEs."""
    assert bench.rows(bench.run(Sql(), {"query": query}, bench.table("orders", ORDERS))) == expected


def test_several_inputs_go_by_their_names(bench: Workbench) -> None:
    """Inputs have the names that they arrive with, whatever characters are in them."""
    ports = {"input": [bench.table("orders", ORDERS), bench.table('the "best" é', "SELECT 2 AS customer")]}
    query = 'SELECT amount FROM orders JOIN "the ""best"" é" USING (customer) ORDER BY amount'
    assert bench.rows(bench.run(Sql(), {"query": query}, ports)) == [(20,), (30,)]
    with pytest.raises(SqlError, match=r"table 'input' is not an input"):
        bench.run(Sql(), {"query": "SELECT * FROM input"}, ports)


def test_an_input_hides_the_catalogue(bench: Workbench) -> None:
    """An input whose name is that of a system view is the input."""
    relation = bench.table("duckdb_tables", "SELECT 1 AS n")
    assert bench.rows(bench.run(Sql(), {"query": "FROM duckdb_tables"}, relation)) == [(1,)]


def test_an_unknown_column_is_an_error_that_shows_candidates(bench: Workbench) -> None:
    """DuckDB's message about a column comes through."""
    with pytest.raises(NodeError, match=r"(?s)amont.*not found.*Candidate.*amount"):
        bench.run(Sql(), {"query": "SELECT amont FROM input"}, bench.table("orders", ORDERS))


def test_a_node_may_be_called_like_the_input(bench: Workbench) -> None:
    """A node whose id is `Input` is the table `input`, too: DuckDB takes both for one name."""
    arrived = bench.table("Input", "SELECT 1 AS a")
    assert bench.rows(bench.run(Sql(), {"query": "SELECT a FROM input"}, arrived)) == [(1,)]
