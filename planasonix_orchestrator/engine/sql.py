"""SQL that users write: what it may do, checked by DuckDB's own parser on the very text that runs.

A query reads its inputs, its own CTEs and values; an expression reads the columns of one row. Neither reaches files,
the network, settings or the catalogue. The text goes into the node's query as it was written, between parentheses:
sqlglot builds what is around it, but it rewrites some expressions in ways that change their meaning
(``date_trunc(unit, day)`` becomes ``DATE_TRUNC('UNIT', day)``), so it has no say over what users wrote.
"""

import difflib
from collections.abc import Collection

from sqlglot import exp

from planasonix_orchestrator.engine import grammar
from planasonix_orchestrator.engine.grammar import Reading, SyntaxProblem, fold
from planasonix_orchestrator.errors import NodeError

__all__ = ["SqlError", "fold", "is_volatile", "parse_expression", "parse_query", "parse_type"]

_EXPRESSION = "SELECT ("
_QUERY = "SELECT * FROM ("
_TYPE = "SELECT CAST(NULL AS "
_TYPE_PARTS = {"SELECT_NODE", "EMPTY", "CAST", "CONSTANT", "TYPE"}
_END = "\n)"  # on a line of its own, past any comment


class SqlError(NodeError):
    """SQL that can't be used: `message` says why, `line` and `column` (from 1) where in the user's text."""

    def __init__(self, message: str, *, line: int, column: int) -> None:
        self.message = message
        self.line = line
        self.column = column
        super().__init__(f"{message}, at line {line}, column {column} of the SQL")


def parse_expression(text: str) -> exp.Expression:
    """Return an expression over the columns of one row; `SqlError` if it is anything else.

    Window functions are part of it; subqueries, aggregates, `*` and `unnest`, which change the number of
    rows or columns, are not.
    """
    _read(text, before="SELECT ", after="")  # by itself, so that it closes no parenthesis but its own
    reading = _read(text, before=_EXPRESSION)
    if reading.columns != 1 or reading.clauses:
        raise _error(text, "expected one expression", offset=0)
    for part in ("SUBQUERY", "BASE_TABLE", "TABLE_FUNCTION"):
        if part in reading.parts:
            message = "an expression can't read a table or a subquery; use a join or a transform.sql node"
            raise _error(text, message, offset=reading.parts[part] - len(_EXPRESSION))
    if "STAR" in reading.parts:
        message = "an expression stands for one column: name it instead of * or COLUMNS(...)"
        raise _error(text, message, offset=reading.parts["STAR"] - len(_EXPRESSION))
    _check_functions(text, reading, before=_EXPRESSION, allowed=grammar.row_functions())
    return exp.Paren(this=_verbatim(text))


def parse_query(text: str, *, inputs: Collection[str]) -> exp.Query:
    """Return one SELECT (WITH, VALUES, UNION ... too) that reads only tables named in `inputs`; else `SqlError`."""
    text = text.rstrip().removesuffix(";")
    for before in ("", _QUERY):  # as a statement of its own, and as it will stand in the node's query
        reading = _read(text, before=before)
        _check_tables(text, reading, before=before, inputs=inputs)
        _check_functions(text, reading, before=before, allowed=grammar.query_functions())
    return exp.Subquery(this=_verbatim(text))


def parse_type(text: str) -> exp.Expression:
    """Return a DuckDB type for a cast (``DECIMAL(12, 2)``, ``STRUCT(a INTEGER)[]``); `SqlError` if there is none."""
    reading = _read(text, before=_TYPE)
    if reading.columns != 1 or reading.clauses or not reading.parts.keys() <= _TYPE_PARTS:
        raise _error(text, "expected one type, such as INTEGER or DECIMAL(12, 2)", offset=0)
    try:
        grammar.bind(f"{_TYPE}{text}{_END}")
    except SyntaxProblem as problem:
        raise _error(text, problem.message, offset=0) from problem
    return _verbatim(text)


def is_volatile(expression: exp.Expr) -> bool:
    """Say whether computing this twice may give different rows: random(), now(), LIMIT, first(), row_number() ..."""
    query = exp.select(exp.Star()).from_(expression) if isinstance(expression, exp.Query) else exp.select(expression)
    return grammar.read(query.sql("duckdb")).is_volatile


def _verbatim(text: str) -> exp.Expression:
    return exp.Var(this=text + "\n")


def _read(text: str, *, before: str, after: str = _END) -> Reading:
    if not text.strip():
        raise _error(text, "there is no SQL here", offset=0)
    try:
        return grammar.read(f"{before}{text}{after}" if before else text)
    except SyntaxProblem as problem:
        raise _error(text, problem.message, offset=problem.offset - len(before)) from problem


def _check_tables(text: str, reading: Reading, *, before: str, inputs: Collection[str]) -> None:
    known = {fold(name) for name in inputs}
    for path, offset in reading.tables.items():
        name = ".".join(path)
        if len(path) == 1 and fold(name) in known:
            continue
        near = difflib.get_close_matches(name, inputs, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"inputs: {', '.join(inputs) or 'none'}"
        raise _error(text, f"table {name!r} is not an input of this node ({hint})", offset=offset - len(before))
    for name, offset in reading.table_functions.items():
        if name not in grammar.TABLE_FUNCTIONS:
            message = f"table function {name!r} is not allowed: SQL reads only the node's inputs"
            raise _error(text, message, offset=offset - len(before))


def _check_functions(text: str, reading: Reading, *, before: str, allowed: Collection[str]) -> None:
    for name, offset in reading.functions.items():
        if name in allowed:
            continue
        if name in grammar.query_functions():
            message = f"{name} changes the number of rows; use transform.summarize or transform.sql"
        elif name in grammar.all_functions():
            message = f"function {name!r} is not allowed: SQL reads only the node's inputs"
        else:
            near = difflib.get_close_matches(name, allowed, n=1)
            message = f"unknown function {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
        raise _error(text, message, offset=offset - len(before))


def _error(text: str, message: str, *, offset: int) -> SqlError:
    before = text[: max(0, min(offset, len(text)))]
    return SqlError(message, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
