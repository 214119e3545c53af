"""transform.select: chooses, renames, casts, computes and drops columns."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, column, quoted
from planasonix_orchestrator.engine.sql import fold, parse_expression, parse_type
from planasonix_orchestrator.nodes.base import Inputs, NodeConfig, NodeContext, Transform, UserSql
from planasonix_orchestrator.nodes.columns import ColumnType, DuplicateColumnError, find_columns, find_duplicate


class SelectColumn(NodeConfig):
    """One column of the result: a column of the input (of the same name, if none is named) or an expression."""

    name: str = Field(min_length=1)
    """The column's name in the result."""
    column: str | None = None
    """The input's column, if its name is another: this renames it."""
    expression: str | None = None
    """A DuckDB expression over the input's columns that computes the value, instead of `column`."""
    type: ColumnType | None = None
    """Casts the value to this DuckDB type, such as `INTEGER`, `DECIMAL(12, 2)` or `TIMESTAMPTZ`."""

    @model_validator(mode="after")
    def _check(self) -> "SelectColumn":
        if self.column is not None and self.expression is not None:
            raise ValueError("give either column or expression, not both")
        return self


class SelectConfig(NodeConfig):
    """Config of transform.select."""

    columns: tuple[SelectColumn, ...] = ()
    """The columns of the result, in order."""
    others: Literal["drop", "keep"] = "drop"
    """What becomes of the input's other columns. With `keep`, renamed, cast and recomputed columns stay in place,
    and new ones follow at the end."""
    drop: tuple[str, ...] = ()
    """Columns to leave out; all others are kept then."""
    on_cast_error: Literal["fail", "null"] = "fail"
    """What a value that can't be cast does: fail the run, or become NULL."""

    @model_validator(mode="after")
    def _check(self) -> "SelectConfig":
        if not self.columns and not self.drop:
            raise ValueError("name columns to select, or columns to drop")
        duplicate = find_duplicate(column.name for column in self.columns)
        if duplicate is not None:
            raise ValueError(f"two columns would be named {duplicate!r}")
        return self


class Select(Transform[SelectConfig]):
    """Chooses, renames, casts, computes and drops columns."""

    type_name = "transform.select"
    aliases = ("select",)
    title = "Select"
    kinds = ("duckdb",)
    config_model = SelectConfig
    keeps_rows = True
    example: ClassVar = {
        "columns": [
            {"name": "order_id"},
            {"name": "buyer", "column": "customer"},
            {"name": "amount", "type": "DECIMAL(12, 2)"},
            {"name": "month", "expression": "date_trunc('month', ordered_at)", "type": "DATE"},
        ],
    }

    def user_sql(self, config: SelectConfig) -> Sequence[UserSql]:
        """Return the expressions."""
        return tuple(
            UserSql(path=("columns", index, "expression"), text=chosen.expression)
            for index, chosen in enumerate(config.columns)
            if chosen.expression is not None
        )

    def apply(self, config: SelectConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the chosen columns."""
        relation = inputs.one()
        keep_others = config.others == "keep" or bool(config.drop)
        chosen = _in_place(config, relation) if keep_others else config.columns
        duplicate = find_duplicate(each.name for each in chosen)
        if duplicate is not None:
            raise DuplicateColumnError(duplicate, hint="drop or rename one of them")
        values = [exp.alias_(_value(each, relation, config), quoted(each.name)) for each in chosen]
        return context.session.define(context.node_id, relation.select(*values, alias="input"))


def _in_place(config: SelectConfig, relation: Relation) -> list[SelectColumn]:
    """Return all columns of the result: the input's, changed where the config says so, then the new ones."""
    changed: dict[str, SelectColumn] = {}
    added: list[SelectColumn] = []
    here = {fold(name) for name in relation.column_names}
    for chosen in config.columns:
        place = fold(chosen.column or chosen.name)
        if place in here and place not in changed:
            changed[place] = chosen
        else:
            added.append(chosen)
    dropped = {fold(name) for name in find_columns(relation, config.drop)} - changed.keys()
    kept = (name for name in relation.column_names if fold(name) not in dropped)
    return [changed.get(fold(name), SelectColumn(name=name)) for name in kept] + added


def _value(chosen: SelectColumn, relation: Relation, config: SelectConfig) -> exp.Expression:
    value: exp.Expression
    if chosen.expression is not None:
        value = parse_expression(chosen.expression)
    else:
        value = column(*find_columns(relation, [chosen.column or chosen.name]), table="input")
    if chosen.type is None:
        return value
    cast = exp.Cast if config.on_cast_error == "fail" else exp.TryCast
    return cast(this=value, to=parse_type(chosen.type))
