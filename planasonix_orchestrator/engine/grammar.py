"""How DuckDB's own parser understands a SELECT: the tables, functions and constructs in it, and which are allowed.

The source of truth is DuckDB itself: `json_serialize_sql` gives its syntax tree, `duckdb_functions()` its functions
with their stability. Anything that is not known to be harmless is refused.
"""

import functools
import json
import string
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

# Parts of a syntax tree. What reads anything else (SHOW_REF, for one) or is unknown is refused.
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

# DuckDB calls these volatile; they differ from one reading to the next, but reach nothing.
_HARMLESS = frozenset(
    {"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "error"}
    | {"now", "today", "current_date", "transaction_timestamp", "get_current_time", "get_current_timestamp"}
)
# DuckDB calls these consistent, but they open what is named in their arguments, or are DuckDB's own machinery.
_REACHING = frozenset({"json_serialize_plan", "index_key", "invoke", "parse_duckdb_log_message"})
# DuckDB calls these consistent, but they read the clock.
_CLOCK = frozenset({"age", "current_localtime", "current_localtimestamp"})
_CLOCK_WORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
_ORDER_DEPENDENT = frozenset(
    {"first", "last", "any_value", "arbitrary", "list", "array_agg", "string_agg", "group_concat", "listagg", "mode"}
    | {"arg_max", "arg_min", "argmax", "argmin", "max_by", "min_by", "arg_max_null", "arg_min_null"}
    | {"arg_max_nulls_last", "arg_min_nulls_last", "reservoir_quantile", "approx_quantile", "approx_top_k"}
    | {"json_group_array", "json_group_object", "json_group_structure", "variant_group_array", "variant_group_object"}
)
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class SyntaxProblem(Exception):  # noqa: N818  (engine.sql turns it into the error that users see)
    """DuckDB's parser refuses a text, or finds in it what is not allowed; `offset` counts characters from 0."""

    def __init__(self, message: str, *, offset: int | None = None) -> None:
        self.message = message
        self.offset = offset
        super().__init__(message)


@dataclass(slots=True)
class Reading:
    """What one SELECT does. Functions are in lower case; `tables` are those that are not CTEs, as paths."""

    functions: set[str] = field(default_factory=set)
    table_functions: set[str] = field(default_factory=set)
    tables: set[tuple[str, ...]] = field(default_factory=set)
    columns: int = 0
    has_subquery: bool = False
    has_source: bool = False
    has_star: bool = False
    is_volatile: bool = False


def fold(name: str) -> str:
    """Return a name as DuckDB compares names: ASCII letters in lower case, all others as they are."""
    return name.translate(_ASCII_LOWER)


def read(sql: str) -> Reading:
    """Return what DuckDB's parser sees in one SELECT; `SyntaxProblem` if it refuses it or it is something else."""
    tree = _tree(sql)
    if len(tree["statements"]) != 1:
        raise SyntaxProblem("expected exactly one SELECT statement")
    root = tree["statements"][0]["node"]
    reading = Reading(columns=len(root.get("select_list", ())))
    _visit(root, frozenset(), reading)
    return reading


def row_functions() -> frozenset[str]:
    """Return the functions that give one value per row, windows included."""
    return _functions().row


def query_functions() -> frozenset[str]:
    """Return the functions that may stand in a query: those per row, aggregates, and `unnest`."""
    return _functions().query


def all_functions() -> frozenset[str]:
    """Return all functions that DuckDB has, allowed or not."""
    return _functions().known


@dataclass(frozen=True, slots=True)
class _Functions:
    row: frozenset[str]
    query: frozenset[str]
    known: frozenset[str]


_LOCK = threading.Lock()


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"enable_external_access": False, "threads": 1})


def _fetch(statement: str, *parameters: str) -> list[tuple[Any, ...]]:
    with _LOCK:
        return _parser().execute(statement, parameters).fetchall()


def _tree(sql: str) -> dict[str, Any]:
    ((text,),) = _fetch("SELECT json_serialize_sql(?::VARCHAR)", sql)
    tree: dict[str, Any] = json.loads(text)
    if tree["error"]:
        position = tree.get("position")
        message = tree["error_message"].strip().splitlines()[0]
        raise SyntaxProblem(message, offset=int(position) if position is not None else None)
    return tree


@functools.cache
def _functions() -> _Functions:
    """Sort DuckDB's functions. A macro is allowed where everything in its body is."""
    rows = _fetch("SELECT function_type, lower(function_name), stability, macro_definition FROM duckdb_functions()")
    known = frozenset(name for _, name, _, _ in rows)
    harmful = {
        name
        for kind, name, stability, _ in rows
        if kind in ("scalar", "aggregate", "window")
        and ((stability != "CONSISTENT" and name not in _HARMLESS) or name in _REACHING or name.startswith("__internal"))
    }
    row = {name for kind, name, _, _ in rows if kind in ("scalar", "window")} - harmful
    query = row | {name for kind, name, _, _ in rows if kind == "aggregate"} - harmful | {"unnest"}
    macros = [(name, _macro(body)) for kind, name, _, body in rows if kind == "macro" and name not in harmful]
    return _Functions(
        row=frozenset(_with_macros(row, macros)), query=frozenset(_with_macros(query, macros)), known=known
    )


def _macro(body: str) -> Reading | None:
    try:
        return read(f"SELECT {body}")
    except SyntaxProblem:
        return None


def _with_macros(functions: set[str], macros: list[tuple[str, Reading | None]]) -> set[str]:
    """Add the macros of which every variant uses only functions that are allowed, until no more come."""
    allowed = set(functions)
    while True:
        refused = {
            name
            for name, body in macros
            if body is None or body.has_source or body.has_subquery or not body.functions <= allowed
        }
        more = {name for name, _ in macros} - refused - allowed
        if not more:
            return allowed
        allowed |= more


def _visit(root: Any, ctes: frozenset[str], reading: Reading) -> None:
    todo: list[tuple[Any, frozenset[str]]] = [(root, ctes)]
    while todo:
        node, visible = todo.pop()
        if isinstance(node, list):
            todo.extend((part, visible) for part in node)
        elif isinstance(node, dict):
            if "cte_map" in node:
                visible = _visit_ctes(node["cte_map"], visible, reading)
            _note(node, visible, reading)
            todo.extend((part, visible) for key, part in node.items() if key != "cte_map")


def _visit_ctes(cte_map: Mapping[str, Any], visible: frozenset[str], reading: Reading) -> frozenset[str]:
    """Visit each CTE with those before it in sight (a recursive one sees itself), and return all in sight after."""
    for entry in cte_map["map"]:
        name = fold(entry["key"])
        query = entry["value"]["query_node"]
        inner = visible | {name} if query["type"] == "RECURSIVE_CTE_NODE" else visible
        _visit(entry["value"], inner, reading)
        visible |= {name}
    return visible


def _note(node: Mapping[str, Any], visible: frozenset[str], reading: Reading) -> None:
    part, expression = node.get("type"), node.get("class")
    if expression is not None:
        _note_expression(node, expression, reading)
    elif isinstance(part, str):
        if part not in _PARTS:
            raise SyntaxProblem(f"{part} is not allowed in this SQL")
        reading.has_source |= part in ("BASE_TABLE", "TABLE_FUNCTION", "JOIN", "SUBQUERY", "EXPRESSION_LIST", "PIVOT")
        if part == "BASE_TABLE":
            path = tuple(node["qualified_name"]["path"])
            if len(path) > 1 or fold(path[0]) not in visible:
                reading.tables.add(path)
        elif part == "TABLE_FUNCTION":
            reading.table_functions.add(fold(node["function"]["function_name"]))
        reading.is_volatile |= _varies(node, part)


def _varies(node: Mapping[str, Any], part: str) -> bool:
    if part == "DISTINCT_MODIFIER":
        return bool(node.get("distinct_on_targets"))
    return part in ("LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER") or bool(node.get("sample"))


def _note_expression(node: Mapping[str, Any], kind: str, reading: Reading) -> None:
    if kind not in _EXPRESSIONS:
        raise SyntaxProblem(f"{kind} is not allowed in this SQL")
    if kind in ("FUNCTION", "WINDOW"):
        name = fold(node["function_name"])
        reading.is_volatile |= kind == "WINDOW" or name in _HARMLESS | _CLOCK | _ORDER_DEPENDENT
        if kind == "FUNCTION":
            reading.functions.add(name)
    elif kind == "COLUMN_REF":
        reading.is_volatile |= fold(node["column_names"][-1]) in _CLOCK_WORDS
    reading.has_subquery |= kind == "SUBQUERY"
    reading.has_star |= kind == "STAR"
