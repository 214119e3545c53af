"""transform.join: puts rows of two inputs side by side."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, column, quoted
from planasonix_orchestrator.engine.sql import fold
from planasonix_orchestrator.nodes.base import InputPort, Inputs, NodeConfig, NodeContext, Transform
from planasonix_orchestrator.nodes.columns import DuplicateColumnError, find_columns, find_duplicate


class JoinKey(NodeConfig):
    """A column of each input; rows whose values are equal belong together."""

    left: str
    """The column of the left input."""
    right: str | None = None
    """The column of the right input, if its name is another."""


class JoinSuffixes(NodeConfig):
    """What is added to the names of columns that both inputs have."""

    left: str = ""
    """Added to the left input's column."""
    right: str = "_right"
    """Added to the right input's column."""


class JoinConfig(NodeConfig):
    """Config of transform.join."""

    kind: Literal["inner", "left", "right", "full", "cross", "semi", "anti"] = "inner"
    """Which rows go on: matches only (`inner`); those of one side (`left`, `right`) or both (`full`) too;
    every combination (`cross`, without keys); left rows with (`semi`) or without (`anti`) a match, once each."""
    keys: tuple[JoinKey, ...] = ()
    """The pairs of columns to compare; all of them must be equal. A pair of one name becomes one column."""
    null_safe: bool = False
    """Whether NULL equals NULL in the keys; by default it equals nothing."""
    suffixes: JoinSuffixes = Field(default_factory=JoinSuffixes)
    """Tells apart other columns that both inputs have."""

    @model_validator(mode="after")
    def _check(self) -> "JoinConfig":
        if self.kind == "cross" and self.keys:
            raise ValueError("a cross join has no keys")
        if self.kind != "cross" and not self.keys:
            raise ValueError("name at least one pair of keys, or choose kind cross")
        return self


class Join(Transform[JoinConfig]):
    """Puts rows of two inputs side by side, `left` and `right`, where their keys are equal."""

    type_name = "transform.join"
    aliases = ("join",)
    title = "Join"
    kinds = ("duckdb",)
    config_model = JoinConfig
    inputs = (InputPort("left"), InputPort("right"))
    dear = True
    example: ClassVar = {"kind": "left", "keys": [{"left": "customer", "right": "customer"}]}

    def apply(self, config: JoinConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the joined rows: the left's columns, then the right's unless the kind is semi or anti."""
        left, right = inputs.one("left"), inputs.one("right")
        pairs = list(
            zip(
                find_columns(left, (key.left for key in config.keys), where="the left input"),
                find_columns(right, (key.right or key.left for key in config.keys), where="the right input"),
                strict=True,
            )
        )
        one_sided = config.kind in ("semi", "anti")
        columns = [exp.Star()] if one_sided else _columns(config, left, right, pairs)
        query = left.select(*columns, alias="left").join(
            right.table("right"), on=_condition(config, pairs), join_type=config.kind
        )
        return context.session.define(context.node_id, query)


def _condition(config: JoinConfig, pairs: list[tuple[str, str]]) -> exp.Expr | None:
    equal = exp.NullSafeEQ if config.null_safe else exp.EQ
    comparisons = [
        equal(this=column(left, table="left"), expression=column(right, table="right")) for left, right in pairs
    ]
    return exp.and_(*comparisons) if comparisons else None


def _columns(config: JoinConfig, left: Relation, right: Relation, pairs: list[tuple[str, str]]) -> list[exp.Expr]:
    """Return the columns of the result: a pair of keys of one name once, others that clash with their suffixes."""
    merged = {fold(a): b for a, b in pairs if fold(a) == fold(b)}
    clashing = {fold(name) for name in left.column_names} & {fold(name) for name in right.column_names}
    chosen: list[tuple[str, exp.Expression]] = []
    for name in left.column_names:
        value: exp.Expression = column(name, table="left")
        if fold(name) in merged:
            chosen.append((name, _merged(config, name, merged[fold(name)])))
        else:
            chosen.append((name + config.suffixes.left if fold(name) in clashing else name, value))
    chosen.extend(_right_columns(config, right, merged, clashing))
    duplicate = find_duplicate(name for name, _ in chosen)
    if duplicate is not None:
        raise DuplicateColumnError(duplicate, hint="set suffixes, or rename a column before the join")
    return [exp.alias_(value, quoted(name)) for name, value in chosen]


def _right_columns(
    config: JoinConfig, right: Relation, merged: dict[str, str], clashing: set[str]
) -> Iterator[tuple[str, exp.Expression]]:
    for name in right.column_names:
        if fold(name) not in merged:
            suffix = config.suffixes.right if fold(name) in clashing else ""
            yield name + suffix, column(name, table="right")


def _merged(config: JoinConfig, left: str, right: str) -> exp.Expression:
    """Return the value of a pair of keys: from the side that always has it."""
    if config.kind == "right":
        return column(right, table="right")
    if config.kind == "full":
        return exp.Coalesce(this=column(left, table="left"), expressions=[column(right, table="right")])
    return column(left, table="left")
