"""Users' SQL: what it may do, what it may not, and where an error says it stands."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from sqlglot import exp

from planasonix_orchestrator.engine import grammar
from planasonix_orchestrator.engine.sql import SqlError, is_volatile, parse_expression, parse_query, parse_type

CASES = Path(__file__).parent / "sql"  # one statement per line


def statements(file: str) -> list[str]:
    """The statements of a file of cases."""
    return (CASES / file).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("query", statements("allowed.sql"))
def test_a_query_may_do_anything_with_its_inputs(query: str) -> None:
    """Whatever only computes with the inputs is allowed, and runs as it was written."""
    assert query.rstrip(";") in parse_query(query, inputs=["input"]).sql("duckdb")


@pytest.mark.parametrize("query", statements("refused.sql"))
def test_a_query_cannot_reach_out_of_its_inputs(query: str) -> None:
    """Files, the network, other tables, the catalogue, settings and other statements are out of reach."""
    with pytest.raises(SqlError):
        parse_query(query, inputs=["input"])


@pytest.mark.parametrize("query", [query for query in statements("refused.sql") if "FROM" in query])
def test_an_expression_cannot_either(query: str) -> None:
    """A query may stand in no place of an expression."""
    for text in (query, f"({query})", f"EXISTS ({query})", f"a IN ({query})", f"1) FROM ({query}", f"1 FROM ({query})"):
        with pytest.raises(SqlError):
            parse_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = 1 AND b LIKE 'x%'",
        "comment = 'a' OR \"set\" IS NULL",
        "lower(name).upper() || 'é'",
        "CASE WHEN a THEN 1 ELSE 2 END",
        "if(a, 1, 2) -- why",
        "d > now() - INTERVAL 3 DAY",
        "sum(a) OVER (PARTITION BY b)",
        "extract(year FROM d) AT TIME ZONE 'UTC'",
        "a BETWEEN 1 AND 2",
        "j ->> '$.a'",
        "[x * 2 for x in list]",
        "list_transform(l, x -> x + 1)",
        "try(1 / 0)",
        "(" * 100 + "1" + ")" * 100,
        " AND ".join(["a"] * 1000),
    ],
)
def test_an_expression_computes_from_one_row(text: str) -> None:
    """Whatever gives one value per row is allowed."""
    assert isinstance(parse_expression(text), exp.Expression)


@pytest.mark.parametrize(
    "text",
    [
        "a AS b", "a; b", "*", "COLUMNS('a')", "sum(a)", "count(*)", "wavg(a, b)", "unnest(a)", "(SELECT 1)", "?", "",
        "a IN (SELECT 1)", "regexp_split_to_table(a, ',')", "SELECT 1", "a) FROM (b", "a) WHERE (b", "a) + (b); (c",
        "a), (b", "a) OR (b", "a WHERE b", "a ORDER BY b", "'", "1" + "+1" * 5000, "abs(" * 900 + "1" + ")" * 900,
        "1 /*",
    ],
)  # fmt: skip
def test_an_expression_is_one_value_for_one_row(text: str) -> None:
    """What makes more or fewer rows or columns is refused, as is what is not one expression."""
    with pytest.raises(SqlError):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a = = 1", 1, 5, 'syntax error at or near "="'),
        ("a\n  AND é = = 1", 2, 11, 'syntax error at or near "="'),
        ("'é' = lowr(a)", 1, 7, "unknown function 'lowr' (did you mean 'lower'?)"),
        ("a >\n 'text", 2, 2, "unterminated string literal"),
        ("a AND sum(b) > 1", 1, 7, "sum changes the number of rows; use transform.summarize or transform.sql"),
        ("a OR 'x'.read_text()", 1, 10, "function 'read_text' is not allowed: SQL reads only the node's inputs"),
        ("", 1, 1, "there is no SQL here"),
    ],
)
def test_an_error_says_where_in_the_users_text(text: str, line: int, column: int, message: str) -> None:
    """Line and column count from 1, in characters of what the user wrote."""
    with pytest.raises(SqlError) as caught:
        parse_expression(text)
    assert (caught.value.line, caught.value.column, caught.value.message) == (line, column, message)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("SELEC 1", 1, 1, 'syntax error at or near "SELEC"'),
        ("SELECT *\nFROM inputt", 2, 6, "table 'inputt' is not an input of this node (did you mean 'input'?)"),
        ("FROM a, xyz     ", 1, 9, "table 'xyz' is not an input of this node (inputs: input, a)"),
        ("ATTACH 'x'", 1, 1, "only a SELECT statement is allowed here"),
        ("FROM (DESCRIBE input)", 1, 6, "DESCRIBE, SUMMARIZE or SHOW is not allowed here"),
    ],
)
def test_an_error_in_a_query_says_where(text: str, line: int, column: int, message: str) -> None:
    """The same holds for queries."""
    with pytest.raises(SqlError) as caught:
        parse_query(text, inputs=["input", "a"])
    assert (caught.value.line, caught.value.column, caught.value.message) == (line, column, message)


@pytest.mark.parametrize(
    "text", ["INTEGER", "decimal(12, 2)", 'STRUCT(a INT, "b c" VARCHAR[])[]', "ENUM ('a', 'b')", "INT -- )"]
)
def test_a_type_is_a_type_that_duckdb_has(text: str) -> None:
    """All of DuckDB's types are allowed."""
    assert text in parse_type(text).sql("duckdb")


@pytest.mark.parametrize("text", ["", "NUMBR", "INT, 1", "INT) + (1", "INT), (SELECT 1", "INT) FROM glob('*'"])
def test_what_is_not_a_type_is_refused(text: str) -> None:
    """A cast's type is no way to bring in other SQL."""
    with pytest.raises(SqlError):
        parse_type(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 1", False), ("lower(a)", False), ("random() < 0.5", True), ("uuid()", True), ("d < now()", True),
        ("d = current_date", True), ("ts > CURRENT_TIMESTAMP", True), ("ago(INTERVAL 1 DAY)", True), ("age(d)", True),
        ("row_number() OVER ()", True), ("list_first(a)", False),
    ],
)  # fmt: skip
def test_an_expression_is_volatile_if_it_may_differ_next_time(text: str, expected: bool) -> None:
    """Chance, the clock and the order of rows make a difference, also inside macros."""
    assert is_volatile(parse_expression(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT a, sum(b) FROM input GROUP BY a ORDER BY a", False), ("SELECT DISTINCT a FROM input", False),
        ("SELECT DISTINCT ON (a) * FROM input", True), ("FROM input LIMIT 3", True), ("FROM input LIMIT 10%", True),
        ("SELECT first(a) FROM input", True), ("FROM input TABLESAMPLE 10%", True), ("SELECT list(a) FROM input", True),
        ("SELECT * FROM (SELECT random())", True), ("WITH c AS (SELECT now()) SELECT 1", True),
    ],
)  # fmt: skip
def test_a_query_is_volatile_if_it_may_differ_next_time(text: str, expected: bool) -> None:
    """The same holds for queries; what depends on the order of rows differs too."""
    assert is_volatile(parse_query(text, inputs=["input"])) is expected


def test_every_function_is_allowed_or_refused_for_a_reason() -> None:
    """Of DuckDB's functions, those that are neither stable nor known to be harmless are refused; all others allowed."""
    refused = grammar.all_functions() - grammar.query_functions()
    with duckdb.connect() as database:
        callable_ = {
            name
            for (name,) in database.execute(
                "SELECT DISTINCT lower(function_name) FROM duckdb_functions()"
                " WHERE function_type IN ('scalar', 'aggregate', 'macro')"
            ).fetchall()
        }
    reaching = {
        "current_connection_id", "current_database", "current_query", "current_query_id", "current_schema",
        "current_schemas", "current_setting", "current_transaction_id", "currval", "format_type", "get_block_size",
        "getvariable", "in_search_path", "index_key", "invoke", "json_serialize_plan", "nextval",
        "parse_duckdb_log_message", "pg_get_constraintdef", "pg_get_viewdef", "pg_sleep",
        "setseed", "setval", "sleep_ms", "stats", "txid_current", "vector_type", "write_log",
    }  # fmt: skip
    assert {name for name in refused & callable_ if not name.startswith("__internal")} - {"current_catalog"} == reaching


def test_the_parser_lives_only_in_processes_that_check_sql() -> None:
    """Importing the room opens no database."""
    code = (
        "import duckdb; duckdb.connect = None\n"
        "import planasonix_orchestrator.engine.sql, planasonix_orchestrator.nodes.builtin"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
