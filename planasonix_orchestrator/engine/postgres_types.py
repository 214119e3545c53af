"""Types between PostgreSQL, Arrow and DuckDB, both ways, such that no value changes on the way.

Reading: what the ADBC driver can't carry (enums, ranges, network addresses ...) comes as PostgreSQL's text.
Writing: what Arrow carries otherwise than PostgreSQL stores it is staged as text or JSON and cast by PostgreSQL.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from planasonix_orchestrator.engine.names import literal, quote
from planasonix_orchestrator.engine.relation import Column, column
from planasonix_orchestrator.engine.types import decimal_digits, is_nested, list_element

# Seen with adbc-driver-postgresql 1.13: it shifts PostgreSQL's epoch (2000-01-01) to that of Unix without a look at
# the infinities, so they wrap around to these values, which lie before the first date that PostgreSQL has.
_WRAPPED_DAYS = {"infinity": -(2**31) + 10956, "-infinity": -(2**31) + 10957}
_WRAPPED_MICROS = {
    "infinity": -(2**63) + 946_684_800_000_000 - 1,
    "-infinity": -(2**63) + 946_684_800_000_000,
}

# Selected as another PostgreSQL type, and then cast to a DuckDB type, as the driver hands out something else.
_RECAST = {
    "money": ("numeric(20,2)", "DECIMAL(20,2)"),
    "_money": ("numeric(20,2)[]", "DECIMAL(20,2)[]"),
    "oid": ("bigint", "BIGINT"),
    "_oid": ("bigint[]", "BIGINT[]"),
    "timetz": ("text", "TIMETZ"),
}


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of a PostgreSQL result, as the ADBC driver describes it."""

    field: "pa.Field[pa.DataType]"

    @property
    def name(self) -> str:
        """The column's name."""
        return str(self.field.name)

    @property
    def postgres_type(self) -> str:
        """PostgreSQL's internal name of the type (`numeric`, `_int4`)."""
        return (self.field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()

    @property
    def is_free_decimal(self) -> bool:
        """Whether it holds decimals (or lists of them) whose digits only the rows can tell."""
        return self.postgres_type == "_numeric" or (self.postgres_type == "numeric" and self.digits is None)

    @property
    def digits(self) -> tuple[int, int] | None:
        """Precision and scale of a `numeric(p,s)` that DuckDB's DECIMAL can hold."""
        modifier = int((self.field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))
        if self.postgres_type != "numeric" or modifier < 0:
            return None
        precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 1024) - 1024
        precision, scale = max(precision, scale) - min(scale, 0), max(scale, 0)
        return (precision, scale) if precision <= 38 else None

    def selected(self) -> str:
        """Return the column as PostgreSQL must select it."""
        name = quote(self.name)
        cast = self._cast
        if not isinstance(self.field.type, pa.ListType):
            return f"{name}::{cast} AS {name}" if cast else name
        # The driver flattens arrays of more dimensions; PostgreSQL refuses this text as an array, and shows it.
        said = literal(f"column {self.name} must have arrays of one dimension only: ")
        refused = f"({said} || {name}::text)::{cast}"
        return f"CASE WHEN array_ndims({name}) > 1 THEN {refused} ELSE {name}::{cast} END AS {name}"

    @property
    def _cast(self) -> str | None:
        type_ = self.field.type
        if self.postgres_type in _RECAST:
            return _RECAST[self.postgres_type][0]
        if isinstance(type_, pa.ListType):
            element = self.postgres_type.removeprefix("_")
            return "text[]" if _is_opaque(type_.value_type) and element != "numeric" else f"{element}[]"
        return "text" if _is_opaque(type_) and self.postgres_type != "numeric" else None

    def loaded(self) -> exp.Expr:
        """Return the column as DuckDB must load it."""
        this = column(self.name)
        if self.digits is not None:
            return exp.cast(this, f"DECIMAL({self.digits[0]},{self.digits[1]})", dialect="duckdb")
        if self.postgres_type in _RECAST:
            return exp.cast(this, _RECAST[self.postgres_type][1], dialect="duckdb")
        if pa.types.is_date(self.field.type):
            return _unwrapped(this, _WRAPPED_DAYS, maker="make_date", type_="DATE")
        if pa.types.is_timestamp(self.field.type) and self.field.type.tz is None:
            return _unwrapped(this, _WRAPPED_MICROS, maker="make_timestamp", type_="TIMESTAMP")
        if pa.types.is_timestamp(self.field.type):
            return _unwrapped(this, _WRAPPED_MICROS, maker="make_timestamptz", type_="TIMESTAMPTZ")
        return this


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetType:
    """How a DuckDB type goes to PostgreSQL.

    `staged` is the DuckDB type that Arrow carries (None: JSON text), `final` the PostgreSQL type of a column made for
    it; `as_text` tells that it travels as text, which PostgreSQL must cast.
    """

    staged: str | None
    final: str
    as_text: bool = False


_TARGETS = {
    "BOOLEAN": TargetType(staged="BOOLEAN", final="boolean"),
    "TINYINT": TargetType(staged="TINYINT", final="smallint"),
    "SMALLINT": TargetType(staged="SMALLINT", final="smallint"),
    "INTEGER": TargetType(staged="INTEGER", final="integer"),
    "BIGINT": TargetType(staged="BIGINT", final="bigint"),
    "UTINYINT": TargetType(staged="SMALLINT", final="smallint"),
    "USMALLINT": TargetType(staged="INTEGER", final="integer"),
    "UINTEGER": TargetType(staged="BIGINT", final="bigint"),
    "UBIGINT": TargetType(staged="DECIMAL(20,0)", final="numeric(20,0)"),
    "HUGEINT": TargetType(staged="DECIMAL(38,0)", final="numeric(38,0)"),
    "UHUGEINT": TargetType(staged="DECIMAL(38,0)", final="numeric(38,0)"),
    "FLOAT": TargetType(staged="FLOAT", final="real"),
    "DOUBLE": TargetType(staged="DOUBLE", final="double precision"),
    "VARCHAR": TargetType(staged="VARCHAR", final="text", as_text=True),
    "JSON": TargetType(staged="VARCHAR", final="jsonb", as_text=True),
    "UUID": TargetType(staged="VARCHAR", final="uuid", as_text=True),
    "BIT": TargetType(staged="VARCHAR", final="bit varying", as_text=True),
    "BLOB": TargetType(staged="BLOB", final="bytea"),
    "DATE": TargetType(staged="DATE", final="date"),
    "TIME": TargetType(staged="TIME", final="time"),
    "TIME_NS": TargetType(staged="TIME", final="time"),
    "TIME WITH TIME ZONE": TargetType(staged="VARCHAR", final="timetz", as_text=True),
    "TIMESTAMP": TargetType(staged="TIMESTAMP", final="timestamp"),
    "TIMESTAMP_S": TargetType(staged="TIMESTAMP", final="timestamp"),
    "TIMESTAMP_MS": TargetType(staged="TIMESTAMP", final="timestamp"),
    "TIMESTAMP_NS": TargetType(staged="TIMESTAMP", final="timestamp"),
    "TIMESTAMP WITH TIME ZONE": TargetType(staged="TIMESTAMPTZ", final="timestamptz"),
    "INTERVAL": TargetType(staged="INTERVAL", final="interval"),
}
_JSON = TargetType(staged=None, final="jsonb", as_text=True)
_ANY_TEXT = TargetType(staged="VARCHAR", final="text", as_text=True)


def target_type(type_: str) -> TargetType:
    """Return how a DuckDB type goes to PostgreSQL: lists of plain values as arrays, other nested types as jsonb."""
    digits = decimal_digits(type_)
    if digits is not None:
        return TargetType(staged=type_, final=f"numeric({digits[0]},{digits[1]})")
    element = list_element(type_)
    if element is not None and not is_nested(element):
        inner = target_type(element)
        return TargetType(staged=f"{inner.staged}[]", final=f"{inner.final}[]", as_text=inner.as_text)
    if is_nested(type_):
        return _JSON
    return _TARGETS.get(type_, _ANY_TEXT)  # enums and whatever else has a text


def staged(col: Column) -> exp.Expr:
    """Return a column as Arrow must carry it to PostgreSQL, under its own name."""
    target, this = target_type(col.type), column(col.name)
    value: exp.Expr = this
    if target.staged is None:
        # A NULL stays a NULL; it would be the JSON value `null` otherwise.
        text = exp.cast(exp.Anonymous(this="to_json", expressions=[this]), "VARCHAR", dialect="duckdb")
        value = exp.Case(ifs=[exp.If(this=exp.Not(this=exp.Is(this=this.copy(), expression=exp.null())), true=text)])
    elif target.staged != col.type:
        value = exp.cast(this, target.staged, dialect="duckdb")
    return exp.alias_(value, col.name, quoted=True)


def _unwrapped(this: exp.Expr, wrapped: Mapping[str, int], *, maker: str, type_: str) -> exp.Expr:
    whens = [
        exp.If(
            this=exp.Anonymous(this=maker, expressions=[exp.Literal.number(number)]),
            true=exp.cast(exp.Literal.string(infinity), type_, dialect="duckdb"),
        )
        for infinity, number in wrapped.items()
    ]
    return exp.Case(this=this, ifs=whens, default=this.copy())


def _is_opaque(type_: pa.DataType) -> bool:
    return isinstance(type_, pa.OpaqueType)
