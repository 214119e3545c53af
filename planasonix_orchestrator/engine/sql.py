"""SQL that users write: parsed by sqlglot, then read by DuckDB's own parser, which decides what it may do.

What is checked is the text that runs: sqlglot writes the SQL anew, without comments, DuckDB's parser shows what
it makes of that text, and everything in it must be on a list of what is allowed. A query reads its inputs, its
own CTEs and values; an expression reads columns. Neither reaches files, the network, settings or the catalogue.
"""

import difflib
from collections.abc import Collection

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from planasonix_orchestrator.engine import grammar
from planasonix_orchestrator.engine.grammar import Reading, SyntaxProblem
from planasonix_orchestrator.errors import NodeError

DIALECT = "duckdb"
_EXPRESSION_PREFIX = "SELECT "


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
    try:
        expression: exp.Expression = sqlglot.parse_one(text, into=exp.Condition, dialect=DIALECT)
        _drop_comments(expression)
        reading = _read(_EXPRESSION_PREFIX + expression.sql(DIALECT))
    except (ParseError, TokenError) as error:
        raise _syntax_error(text, error, prefix=_EXPRESSION_PREFIX) from error
    except (SyntaxProblem, RecursionError) as error:
        raise SqlError(_refused(error), line=1, column=1) from error
    if reading.has_subquery or reading.has_source or reading.columns != 1:
        raise _error(text, "an expression can't contain a subquery or FROM; use a join or a transform.sql node", "select")
    if reading.has_star:
        raise _error(text, "an expression stands for one column: name it instead of '*' or COLUMNS(...)", "*")
    _check_functions(text, reading, allowed=grammar.row_functions())
    return expression


def parse_query(text: str, *, inputs: Collection[str]) -> exp.Query:
    """Return one SELECT (WITH, UNION ... too) that reads only tables named in `inputs`; else `SqlError`."""
    try:
        statements = [statement for statement in sqlglot.parse(text, dialect=DIALECT) if statement is not None]
    except (ParseError, TokenError) as error:
        raise _syntax_error(text, error) from error
    except RecursionError as error:
        raise SqlError(_refused(error), line=1, column=1) from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise SqlError("expected exactly one SELECT statement", line=1, column=1)
    query = statements[0]
    try:
        _drop_comments(query)
        reading = _read(query.sql(DIALECT))
    except (SyntaxProblem, RecursionError) as error:
        raise SqlError(_refused(error), line=1, column=1) from error
    _check_tables(text, reading, inputs=inputs)
    _check_functions(text, reading, allowed=grammar.query_functions())
    return query


def is_volatile(expression: exp.Expression) -> bool:
    """Say whether computing this twice may give different rows: random(), now(), LIMIT, first(), row_number() ..."""
    query = expression if isinstance(expression, exp.Query) else exp.select(expression)
    return _read(query.sql(DIALECT)).is_volatile


def _read(sql: str) -> Reading:
    return grammar.read(sql)


def _drop_comments(tree: exp.Expression) -> None:
    for node in tree.walk():
        node.comments = None


def _check_tables(text: str, reading: Reading, *, inputs: Collection[str]) -> None:
    known = {grammar.fold(name) for name in inputs}
    for path in reading.tables:
        name = path[-1]
        if len(path) > 1:
            raise _error(text, f"table {'.'.join(path)!r} is not an input: SQL reads only its inputs, by plain name", name)
        if grammar.fold(name) not in known:
            near = difflib.get_close_matches(name, inputs, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(inputs) or 'none'}"
            raise _error(text, f"table {name!r} is not an input of this node; {hint}", name)
    for name in reading.table_functions:
        if name not in grammar.TABLE_FUNCTIONS:
            raise _error(text, f"table function {name!r} is not allowed: SQL reads only its inputs", name)


def _check_functions(text: str, reading: Reading, *, allowed: Collection[str]) -> None:
    for name in reading.functions:
        if name in allowed:
            continue
        if name in grammar.query_functions():
            raise _error(text, f"{name}() makes other rows, so it can't stand in an expression", name)
        if name in grammar.all_functions():
            raise _error(text, f"function {name!r} is not allowed here", name)
        near = difflib.get_close_matches(name, allowed, n=1)
        raise _error(text, f"unknown function {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""), name)


def _refused(error: SyntaxProblem | RecursionError) -> str:
    return "this SQL is nested too deeply" if isinstance(error, RecursionError) else error.message


def _syntax_error(text: str, error: ParseError | TokenError, *, prefix: str = "") -> SqlError:
    """Return the better of two messages: DuckDB's if it refuses the text as well, else sqlglot's."""
    if not text.strip():
        return SqlError("there is no SQL here", line=1, column=1)
    try:
        grammar.read(prefix + text)
    except SyntaxProblem as problem:
        if problem.offset is not None:
            return _error_at(text, problem.message, max(0, problem.offset - len(prefix)))
    if isinstance(error, ParseError) and error.errors and error.errors[0]["highlight"]:
        first = error.errors[0]
        line, column = first["line"], first["col"] - len(first["highlight"]) + 1
        return SqlError(f"syntax error at or near {first['highlight']!r}", line=line, column=max(1, column))
    return SqlError("syntax error", line=1, column=1)


def _error(text: str, message: str, word: str) -> SqlError:
    """Return an error at the first token of the text that is this word."""
    for token in sqlglot.tokenize(text, read=DIALECT):
        if grammar.fold(token.text) == grammar.fold(word):
            return _error_at(text, message, token.start)
    return SqlError(message, line=1, column=1)


def _error_at(text: str, message: str, offset: int) -> SqlError:
    before = text[:offset]
    return SqlError(message, line=before.count("\n") + 1, column=offset - (before.rfind("\n") + 1) + 1)
