"""DuckDB's types as text: what kind of type it is, and how many bytes its values take."""

import re

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Column, column

_WIDTHS = {
    "BOOLEAN": 1,
    "TINYINT": 1,
    "UTINYINT": 1,
    "SMALLINT": 2,
    "USMALLINT": 2,
    "INTEGER": 4,
    "UINTEGER": 4,
    "FLOAT": 4,
    "DATE": 4,
    "BIGINT": 8,
    "UBIGINT": 8,
    "DOUBLE": 8,
    "TIME": 8,
    "TIME_NS": 8,
    "TIME WITH TIME ZONE": 8,
    "TIMESTAMP": 8,
    "TIMESTAMP_S": 8,
    "TIMESTAMP_MS": 8,
    "TIMESTAMP_NS": 8,
    "TIMESTAMP WITH TIME ZONE": 8,
    "HUGEINT": 16,
    "UHUGEINT": 16,
    "INTERVAL": 16,
    "UUID": 16,
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_LIST = re.compile(r"(.*)\[\d*\]", re.DOTALL)
_NESTED = ("STRUCT(", "MAP(", "UNION(", "VARIANT")


def decimal_digits(type_: str) -> tuple[int, int] | None:
    """Return precision and scale of a DECIMAL type, None for any other type."""
    match = _DECIMAL.fullmatch(type_)
    return (int(match[1]), int(match[2])) if match else None


def list_element(type_: str) -> str | None:
    """Return the element type of a list or array type, None for any other type."""
    match = _LIST.fullmatch(type_)
    return match[1] if match else None


def is_nested(type_: str) -> bool:
    """Tell whether values of the type have parts: lists, structs, maps, unions."""
    return list_element(type_) is not None or type_.startswith(_NESTED)


def size_of(col: Column) -> exp.Expr:
    """Return an aggregate over rows: the bytes that the column's values take.

    Types of fixed size count their width for every row; all others the length of their text in UTF-8.
    """
    digits = decimal_digits(col.type)
    width = _WIDTHS.get(col.type) or (digits and _decimal_width(digits[0]))
    if width:
        return exp.Mul(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(width))
    text: exp.Expr = column(col.name)
    if col.type != "VARCHAR":
        text = exp.cast(text, "VARCHAR")
    return exp.func("coalesce", exp.Sum(this=exp.Anonymous(this="strlen", expressions=[text])), exp.Literal.number(0))


def _decimal_width(precision: int) -> int:
    return next(width for limit, width in ((4, 2), (9, 4), (18, 8), (38, 16)) if precision <= limit)
