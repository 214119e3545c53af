"""Columns that a config names: found as DuckDB finds them, or refused; and the parts of configs that are about them."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator
from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, column, quoted
from planasonix_orchestrator.engine.sql import SqlError, fold, parse_type
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import NodeConfig


class MissingColumnError(NodeError):
    """A config names a column that the input does not have; `nearest` is the one most like it, if any is close."""

    def __init__(self, name: str, *, known: Sequence[str], where: str = "the input") -> None:
        near = difflib.get_close_matches(name, known, n=1)
        self.name = name
        self.nearest = near[0] if near else None
        guess = f"did you mean {self.nearest!r}? " if self.nearest else ""
        super().__init__(f"{where} has no column {name!r}", hint=f"{guess}its columns: {', '.join(known)}")


class DuplicateColumnError(NodeError):
    """Two columns of a result would have one name; names that differ only in case are one name."""

    def __init__(self, name: str, *, hint: str) -> None:
        self.name = name
        super().__init__(f"the result would have two columns {name!r}", hint=hint)


def find_columns(relation: Relation, names: Iterable[str], *, where: str = "the input") -> list[str]:
    """Return the columns of these names as the relation spells them; `MissingColumnError` for the first unknown one."""
    known = {fold(name): name for name in relation.column_names}
    found = []
    for name in names:
        if fold(name) not in known:
            raise MissingColumnError(name, known=relation.column_names, where=where)
        found.append(known[fold(name)])
    return found


def find_duplicate(names: Iterable[str]) -> str | None:
    """Return the first name that is there twice, in whatever case, or None."""
    seen = set()
    for name in names:
        if fold(name) in seen:
            return name
        seen.add(fold(name))
    return None


def numbered(relation: Relation) -> tuple[exp.Subquery, str]:
    """Return the relation with its rows numbered from 1 as they arrive, and the name of the column with the numbers."""
    number = "row_number"
    taken = {fold(name) for name in relation.column_names}
    while number in taken:
        number += "_"
    rows = relation.select(exp.Star(), exp.alias_(exp.Window(this=exp.RowNumber()), quoted(number)))
    return rows.subquery("numbered"), number


class OrderKey(NodeConfig):
    """A column to order by."""

    column: str
    """The column."""
    direction: Literal["asc", "desc"] = "asc"
    """`asc`, the least first, or `desc`, the greatest first."""
    nulls: Literal["first", "last"] = "last"
    """Where rows without a value go."""


def ordered(relation: Relation, keys: Iterable[OrderKey], *, reverse: bool = False) -> list[exp.Ordered]:
    """Return the keys for an ORDER BY over the relation, turned round if asked; unknown columns are refused."""
    return [
        exp.Ordered(
            this=column(*find_columns(relation, [key.column])),
            desc=(key.direction == "desc") is not reverse,
            nulls_first=(key.nulls == "first") is not reverse,
        )
        for key in keys
    ]


def _check_type(text: str) -> str:
    try:
        parse_type(text)
    except SqlError as error:
        raise ValueError(error.message) from error
    return text


ColumnType = Annotated[str, AfterValidator(_check_type)]
