"""transform.select."""

from typing import Any

import pytest
from pydantic import ValidationError

from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.columns import DuplicateColumnError, MissingColumnError
from planasonix_orchestrator.nodes.transforms.select import Select
from tests.nodes.workbench import Workbench

TABLE = 'SELECT 1 AS id, \'2.50\' AS price, \'x\' AS "select", \'é\' AS "with ""quotes"" and é"'


@pytest.mark.parametrize(
    ("config", "columns", "row"),
    [
        ({"columns": [{"name": "select"}, {"name": "id"}]}, ["select VARCHAR", "id INTEGER"], ("x", 1)),
        ({"columns": [{"name": "key", "column": "id"}]}, ["key INTEGER"], (1,)),
        ({"columns": [{"name": "ID", "column": "id"}]}, ["ID INTEGER"], (1,)),
        ({"columns": [{"name": "id", "type": "VARCHAR"}]}, ["id VARCHAR"], ("1",)),
        (
            {"columns": [{"name": "ids", "expression": "[id, input.id + 1]", "type": "BIGINT[]"}]},
            ["ids BIGINT[]"],
            ([1, 2],),
        ),
        ({"columns": [{"name": 'a "b"', "column": 'with "quotes" and é'}]}, ['a "b" VARCHAR'], ("é",)),
        ({"drop": ["price", "SELECT", 'with "quotes" and é']}, ["id INTEGER"], (1,)),
        (
            {
                "columns": [{"name": "next", "expression": "id + 1"}, {"name": "key", "column": "id"}],
                "drop": ["price", 'with "quotes" and é'],
            },
            ["key INTEGER", "select VARCHAR", "next INTEGER"],
            (1, "x", 2),
        ),
        (
            {
                "columns": [{"name": "id", "expression": "id * 10"}, {"name": "select", "type": "JSON"}],
                "others": "keep",
                "onCastError": "null",
            },
            ["id INTEGER", "price VARCHAR", "select JSON", 'with "quotes" and é VARCHAR'],
            (10, "2.50", None, "é"),
        ),
        (
            {"columns": [{"name": "n", "column": "select", "type": "INTEGER"}], "onCastError": "null"},
            ["n INTEGER"],
            (None,),
        ),
    ],
)
def test_the_result_has_the_chosen_columns(
    bench: Workbench, config: dict[str, Any], columns: list[str], row: tuple[Any, ...]
) -> None:
    """Columns are chosen, renamed, cast, computed and dropped; others stay in place if they are kept."""
    result = bench.run(Select(), config, bench.table("t", TABLE))
    assert bench.columns(result) == columns
    assert bench.rows(result) == [row]


def test_a_missing_column_is_named_with_the_nearest(bench: Workbench) -> None:
    """A column that is not there is an error that names the nearest one and all there are."""
    with pytest.raises(
        MissingColumnError, match=r"no column 'pric'.*did you mean 'price'.*id, price, select"
    ) as caught:
        bench.run(Select(), {"columns": [{"name": "pric"}]}, bench.table("t", TABLE))
    assert caught.value.nearest == "price"


@pytest.mark.parametrize("config", [{"columns": [{"name": "nothing"}], "others": "keep"}, {"drop": ["nothing"]}])
def test_a_missing_column_is_missed_where_others_are_kept(bench: Workbench, config: dict[str, Any]) -> None:
    """Keeping the other columns does not hide a misspelt one."""
    with pytest.raises(MissingColumnError):
        bench.run(Select(), config, bench.table("t", TABLE))


def test_a_rename_onto_another_column_is_refused(bench: Workbench) -> None:
    """Two columns of one name can't be in a result, whatever their case."""
    config = {"columns": [{"name": "PRICE", "column": "id"}], "others": "keep"}
    with pytest.raises(DuplicateColumnError, match=r"two columns 'price'"):
        bench.run(Select(), config, bench.table("t", TABLE))


def test_a_value_that_cannot_be_cast_fails_the_run(bench: Workbench) -> None:
    """Casts are strict unless the config says otherwise."""
    with pytest.raises(NodeError, match=r"Could not convert string 'x' to INT32"):
        bench.rows(bench.run(Select(), {"columns": [{"name": "select", "type": "INTEGER"}]}, bench.table("t", TABLE)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "name columns to select, or columns to drop"),
        ({"columns": [{"name": "a"}, {"name": "A"}]}, "two columns would be named 'A'"),
        ({"columns": [{"name": "a", "column": "b", "expression": "c"}]}, "either column or expression"),
        ({"columns": [{"name": "a", "type": "NUMBR"}]}, "Type with name NUMBR does not exist"),
        ({"columns": [{"name": "a", "type": "INT), (SELECT 1"}]}, "expected one type"),
        ({"columns": [{"name": "a", "type": "INT) FROM glob('*'"}]}, "expected one type"),
        ({"columns": [{"name": "a", "type": ""}]}, "there is no SQL here"),
    ],
)
def test_a_config_that_means_nothing_is_refused(config: dict[str, Any], message: str) -> None:
    """What can't be right is refused before any run."""
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        Select.config_model.model_validate(config)
