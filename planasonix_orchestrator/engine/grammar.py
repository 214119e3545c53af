"""How DuckDB's own parser understands a SELECT: the tables, functions and constructs in it, and which are harmless.

The source of truth is DuckDB: `json_serialize_sql` gives its syntax tree, `duckdb_functions()` its functions and how
stable they are. Whatever is not known to be harmless is refused.
"""

import functools
import json
import string
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

# The parts of a syntax tree that may occur. SHOW_REF (DESCRIBE, SUMMARIZE, SHOW) is one that may not.
_PARTS = frozenset(
    {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
    | {"EMPTY", "BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "PIVOT"}
    | {"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER", "DISTINCT_MODIFIER"}
    | {"ORDER_DEFAULT", "ASCENDING", "DESCENDING"}
)
_EXPRESSIONS = frozenset(
    {"BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA"}
    | {"LAMBDA_REF", "OPERATOR", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW"}
)
TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "repeat", "repeat_row", "json_each", "json_tree"})

# Not stable in DuckDB's eyes, but they reach nothing outside.
_CHANCE = frozenset({"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid"})
_CLOCK = frozenset(
    {"now", "today", "current_date", "transaction_timestamp", "get_current_time", "get_current_timestamp"}
    | {"age", "current_localtime", "current_localtimestamp"}
)
_UNSTABLE_BUT_HARMLESS = _CHANCE | _CLOCK | {"error"}
# Stable in DuckDB's eyes, but they open what their argument names, or are DuckDB's own machinery.
_REACHING = frozenset({"json_serialize_plan", "index_key", "invoke", "parse_duckdb_log_message"})
_CLOCK_WORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
# Aggregates whose value depends on the order in which rows happen to arrive.
_ORDER_DEPENDENT = frozenset(
    {"first", "last", "any_value", "arbitrary", "list", "array_agg", "string_agg", "group_concat", "listagg", "mode"}
    | {"arg_max", "arg_min", "argmax", "argmin", "max_by", "min_by", "arg_max_null", "arg_min_null"}
    | {"arg_max_nulls_last", "arg_min_nulls_last", "reservoir_quantile", "approx_quantile", "approx_top_k"}
    | {"json_group_array", "json_group_object", "json_group_structure", "variant_group_array", "variant_group_object"}
)
_CLAUSES = ("modifiers", "where_clause", "group_expressions", "group_sets", "having", "sample", "qualify")
_NOWHERE = 2**64 - 1  # DuckDB's way to say that a node has no place of its own
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class SyntaxProblem(Exception):  # noqa: N818  (engine.sql makes the error that users see of it)
    """DuckDB's parser refuses a text, or finds in it what is not allowed; `offset` counts characters from 0."""

    def __init__(self, message: str, *, offset: int = 0) -> None:
        self.message = message
        self.offset = offset
        super().__init__(message)


@dataclass(slots=True)
class Reading:
    """What one SELECT does, each with the offset in characters where it first stands.

    Functions are in lower case; `tables` are paths that are not CTEs in sight; `parts` are kinds of constructs.
    `columns` and `clauses` (has it WHERE, ORDER BY ...?) are those of the outermost SELECT.
    """

    functions: dict[str, int] = field(default_factory=dict)
    table_functions: dict[str, int] = field(default_factory=dict)
    tables: dict[tuple[str, ...], int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    columns: int = 0
    clauses: bool = False
    is_volatile: bool = False


def fold(name: str) -> str:
    """Return a name as DuckDB compares names: ASCII letters in lower case, all others as they are."""
    return name.translate(_ASCII_LOWER)


@functools.lru_cache(maxsize=10_000)  # each text is read when it is checked, for its volatility, and when it runs
def read(sql: str) -> Reading:
    """Return what DuckDB's parser sees in one SELECT; `SyntaxProblem` if it refuses it or it is something else."""
    return _read(sql, varying=_functions().varying)


def bind(sql: str) -> None:
    """Run a SELECT without a table to see whether DuckDB knows its types; `SyntaxProblem` if not."""
    try:
        _fetch(sql)
    except duckdb.Error as error:
        raise SyntaxProblem(str(error).strip().splitlines()[0]) from error


def row_functions() -> frozenset[str]:
    """Return the functions that give one value per row, windows included."""
    return _functions().row


def query_functions() -> frozenset[str]:
    """Return the functions that may stand in a query: those per row, aggregates, and `unnest`."""
    return _functions().query


def all_functions() -> frozenset[str]:
    """Return all functions that DuckDB has, allowed or not."""
    return _functions().known


def _read(sql: str, *, varying: frozenset[str]) -> Reading:
    statements = _statements(sql)
    if len(statements) != 1:
        raise SyntaxProblem("expected exactly one SELECT statement")
    root = statements[0]["node"]
    reader = _Reader(sql, varying)
    reader.visit(root, frozenset())
    reader.reading.columns = len(root.get("select_list", ()))
    reader.reading.clauses = any(root.get(clause) for clause in _CLAUSES)
    return reader.reading


class _Reader:
    """Walks a syntax tree, with a stack of its own since expressions may be deep, and fills in a `Reading`."""

    def __init__(self, sql: str, varying: frozenset[str]) -> None:
        self.reading = Reading()
        self._sql = sql.encode()
        self._varying = varying

    def visit(self, root: object, ctes: frozenset[str], place: int = 0) -> None:
        todo = [(root, ctes, place)]
        while todo:
            node, visible, place = todo.pop()
            if isinstance(node, list):
                todo.extend((part, visible, place) for part in reversed(node))
            elif isinstance(node, dict):
                if node.get("query_location", _NOWHERE) != _NOWHERE:
                    place = len(self._sql[: node["query_location"]].decode(errors="ignore"))  # DuckDB counts bytes
                if "cte_map" in node:
                    visible = self._visit_ctes(node["cte_map"]["map"], visible, place)
                todo.extend((part, visible, place) for part in self._note(node, visible, place))

    def _visit_ctes(self, entries: Sequence[Mapping[str, Any]], visible: frozenset[str], place: int) -> frozenset[str]:
        """Visit each CTE with those before it in sight (a recursive one sees itself too); return all of them."""
        for entry in entries:
            name = {fold(entry["key"])}
            recursive = entry["value"]["query_node"]["type"] == "RECURSIVE_CTE_NODE"
            self.visit(entry["value"], visible | name if recursive else visible, place)
            visible |= name
        return visible

    def _note(self, node: Mapping[str, Any], visible: frozenset[str], place: int) -> list[Any]:
        """Take note of one node and return the parts of it that are still to be visited."""
        expression, part = node.get("class"), node.get("type")
        kind = expression or part
        if isinstance(kind, str):
            if kind not in (_EXPRESSIONS if expression else _PARTS):
                raise SyntaxProblem(f"{_spoken(kind)} is not allowed here", offset=place)
            self.reading.parts.setdefault(kind, place)
            self.reading.is_volatile |= self._varies(node, kind)
        if kind == "FUNCTION":
            self.reading.functions.setdefault(fold(node["function_name"]), place)
        elif kind == "BASE_TABLE":
            path = tuple(node["qualified_name"]["path"])
            if len(path) > 1 or fold(path[0]) not in visible:
                self.reading.tables.setdefault(path, place)
        elif kind == "TABLE_FUNCTION":
            self.reading.table_functions.setdefault(fold(node["function"]["function_name"]), place)
            return [node["function"]["arguments"], node["sample"]]
        return [part for key, part in node.items() if key != "cte_map"]

    def _varies(self, node: Mapping[str, Any], kind: str) -> bool:
        if kind == "FUNCTION":
            return fold(node["function_name"]) in self._varying
        if kind == "COLUMN_REF":
            return fold(node["column_names"][-1]) in _CLOCK_WORDS
        if kind == "DISTINCT_MODIFIER":
            return bool(node["distinct_on_targets"])
        return kind in ("WINDOW", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER") or bool(node.get("sample"))


@dataclass(frozen=True, slots=True)
class _Functions:
    row: frozenset[str]
    query: frozenset[str]
    known: frozenset[str]
    varying: frozenset[str]


@functools.cache
def _functions() -> _Functions:
    """Sort DuckDB's functions. A macro is allowed where everything in its body is."""
    rows = _fetch("SELECT function_type, lower(function_name), stability, macro_definition FROM duckdb_functions()")
    refused = _REACHING | {
        name
        for kind, name, stability, _ in rows
        if (kind in ("scalar", "aggregate") and stability != "CONSISTENT" and name not in _UNSTABLE_BUT_HARMLESS)
        or name.startswith("__internal")
    }
    row = {name for kind, name, _, _ in rows if kind in ("scalar", "window")} - refused
    query = (row | {name for kind, name, _, _ in rows if kind == "aggregate"} | {"unnest"}) - refused
    macros = [(name, _macro(body)) for kind, name, _, body in rows if kind == "macro" and name not in refused]
    varying = _CHANCE | _CLOCK | _ORDER_DEPENDENT
    return _Functions(
        row=_with_macros(row, macros),
        query=_with_macros(query, macros),
        known=frozenset(name for _, name, _, _ in rows),
        varying=varying | {name for name, body in macros if body and (body.is_volatile or varying & {*body.functions})},
    )


def _macro(body: str) -> Reading | None:
    """Return what a macro does, or None if it reads a table or is a construct that is not allowed."""
    try:
        reading = _read(f"SELECT {body}", varying=frozenset())
    except SyntaxProblem:
        return None
    return None if reading.tables or reading.table_functions else reading


def _with_macros(functions: set[str], macros: Sequence[tuple[str, Reading | None]]) -> frozenset[str]:
    """Add the macros of which every variant uses only functions that are allowed, until no more come."""
    allowed = set(functions)
    while True:
        refused = {name for name, body in macros if body is None or not allowed.issuperset(body.functions)}
        more = {name for name, _ in macros} - refused - allowed
        if not more:
            return frozenset(allowed)
        allowed |= more


def _statements(sql: str) -> list[dict[str, Any]]:
    ((text,),) = _fetch("SELECT json_serialize_sql(?::VARCHAR)", sql)
    try:
        tree = json.loads(text)
    except RecursionError as error:
        raise SyntaxProblem("this SQL is nested too deeply") from error
    if tree["error"]:
        message = tree["error_message"].strip().splitlines()[0]
        if tree["error_type"] == "not implemented":
            raise SyntaxProblem("only a SELECT statement is allowed here")
        offset = len(sql.encode()[: int(tree.get("position", 0))].decode(errors="ignore"))
        raise SyntaxProblem(message, offset=offset)
    return list(tree["statements"])


_LOCK = threading.Lock()


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    # Without threads of its own, which it has no use for, it goes on working in a process that was forked.
    parser = duckdb.connect(config={"enable_external_access": False, "threads": 1, "async_threads": 0})
    return parser.execute("PRAGMA disable_optimizer")  # parsing a text takes a third less time


def _fetch(statement: str, *parameters: str) -> list[tuple[Any, ...]]:
    with _LOCK:
        return _parser().execute(statement, parameters).fetchall()


def _spoken(kind: str) -> str:
    return {"SHOW_REF": "DESCRIBE, SUMMARIZE or SHOW", "PARAMETER": "a parameter"}.get(kind, kind)
