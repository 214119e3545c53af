"""transform.filter."""

import pytest

from planasonix_orchestrator.engine.sql import SqlError
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.transforms.filter import Filter
from tests.nodes.workbench import Workbench

NUMBERS = 'SELECT * FROM (VALUES (1, \'a\'), (2, NULL), (3, \'c\')) AS v(n, "a ""b"" é")'


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"expression": "n > 1"}, [2, 3]),
        ({"expression": "input.n > 1 -- with a comment"}, [2, 3]),
        ({"expression": "n = 1 OR n = 3"}, [1, 3]),
        ({"expression": '"a ""b"" é" <> \'c\''}, [1]),
        ({"expression": '"a ""b"" é" <> \'c\'', "nulls": "keep"}, [1, 2]),
        ({"expression": "NULL"}, []),
        ({"expression": "n in (1, 2) and n not in (2)"}, [1]),
    ],
)
def test_keeps_the_rows_for_which_the_expression_is_true(
    bench: Workbench, config: dict[str, str], expected: list[int]
) -> None:
    """Rows go on if the expression is true; if it is NULL, as `nulls` says."""
    result = bench.run(Filter(), config, bench.table("numbers", NUMBERS))
    assert [row[0] for row in bench.rows(result)] == expected
    assert result.rows_in == 3


def test_an_unknown_column_is_an_error_that_shows_candidates(bench: Workbench) -> None:
    """An expression over a column that is not there says which are."""
    with pytest.raises(NodeError, match=r'(?s)nn.*not found.*Candidate.*"n"'):
        bench.run(Filter(), {"expression": "nn > 1"}, bench.table("numbers", NUMBERS))


def test_an_aggregate_is_no_condition(bench: Workbench) -> None:
    """An aggregate in the expression is refused with a way out."""
    with pytest.raises(SqlError, match=r"sum changes the number of rows; use transform\.summarize"):
        bench.run(Filter(), {"expression": "sum(n) > 1"}, bench.table("numbers", NUMBERS))
