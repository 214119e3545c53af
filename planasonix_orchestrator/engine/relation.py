"""A relation: what one node hands to the next, a named select in the run's database, not its rows."""

import re
from dataclasses import dataclass, replace

from sqlglot import exp

SCHEMA = "nodes"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name and its DuckDB type as text (``DECIMAL(18,3)``, ``STRUCT(a INTEGER)``)."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A view or table in the run's database, in `SCHEMA`, under its `stored_name`.

    `rows` is the exact number of rows once it is known; `bytes_read` what a source read from outside,
    `bytes_shuffled` what it takes materialised; None where there is no such figure.
    """

    name: str
    columns: tuple[Column, ...]
    materialised: bool = False
    rows: int | None = None
    bytes_read: int | None = None
    bytes_shuffled: int | None = None

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def type_of(self, name: str) -> str:
        """Return the DuckDB type of a column, by its exact name."""
        return next(column.type for column in self.columns if column.name == name)

    def table(self, alias: str | None = None) -> exp.Table:
        """Return the relation as it stands in a FROM clause, quoted, under an alias if one is given."""
        return exp.table_(stored_name(self.name), db=SCHEMA, quoted=True, alias=quoted(alias) if alias else None)

    def select(self, *columns: exp.Expr | str, alias: str | None = None) -> exp.Select:
        """Return ``SELECT columns FROM this`` (all columns if none is named), to build on."""
        return exp.select(*(columns or (exp.Star(),)), dialect="duckdb").from_(self.table(alias))

    def with_figures(self, *, rows: int | None = None, bytes_read: int | None = None) -> "Relation":
        """Return the same relation with figures filled in; a figure that is None stays as it was."""
        return replace(
            self,
            rows=self.rows if rows is None else rows,
            bytes_read=self.bytes_read if bytes_read is None else bytes_read,
        )


def stored_name(name: str) -> str:
    """Return the name under which DuckDB keeps a relation: DuckDB takes `a` and `A` for one name, users don't."""
    return re.sub(r"[A-Z^]", r"^\g<0>", name)


def name_of(stored: str) -> str:
    """Return the name of the relation that DuckDB keeps under a stored name."""
    return re.sub(r"\^(.)", r"\1", stored)


def quoted(name: str) -> exp.Identifier:
    """Return an identifier that stands for exactly this name, whatever characters it has."""
    return exp.to_identifier(name, quoted=True)


def column(name: str, *, table: str | None = None) -> exp.Column:
    """Return a quoted column reference, of a table alias if one is given."""
    return exp.column(quoted(name), table=quoted(table) if table else None)
