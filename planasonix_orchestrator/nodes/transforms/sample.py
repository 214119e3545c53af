"""transform.sample: keeps some of the rows, chosen by chance."""

import secrets
from typing import ClassVar

from pydantic import Field, model_validator
from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation, column, quoted
from planasonix_orchestrator.nodes.base import Inputs, NodeConfig, NodeContext, Transform
from planasonix_orchestrator.nodes.columns import numbered

_HASHES = 2**64


class SampleConfig(NodeConfig):
    """Config of transform.sample."""

    rate: float | None = Field(default=None, ge=0, le=1)
    """The probability with which each row is kept, from 0 to 1."""
    rows: int | None = Field(default=None, ge=0)
    """How many rows are kept, instead of `rate`; all, if there are not so many."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Makes the choice repeatable: with one seed, the same rows of the same input in the same order are kept.
    Without it, each run chooses anew and logs the seed that it took."""

    @model_validator(mode="after")
    def _check(self) -> "SampleConfig":
        if (self.rate is None) == (self.rows is None):
            raise ValueError("give either rate or rows")
        return self


class Sample(Transform[SampleConfig]):
    """Keeps some of the rows, chosen by chance, in the order in which they came."""

    type_name = "transform.sample"
    aliases = ("sample",)
    title = "Sample"
    kinds = ("duckdb",)
    config_model = SampleConfig
    materialised = True
    example: ClassVar = {"rows": 2, "seed": 42}

    def apply(self, config: SampleConfig, inputs: Inputs, context: NodeContext) -> Relation:
        """Return the rows that are kept."""
        seed = config.seed
        if seed is None:
            seed = secrets.randbits(63)
            context.log.info("Sampling with seed %d", seed)
        rows, number = numbered(inputs.one())
        # A hash of the row's number, since DuckDB's own sampling is repeatable only with one thread.
        chance = exp.Anonymous(this="hash", expressions=[column(number), exp.Literal.number(seed)])
        query = exp.select(exp.Star(except_=[quoted(number)])).from_(rows)
        if config.rows is not None:
            drawn = exp.select("*").from_(rows).order_by(chance, column(number)).limit(config.rows)
            query = exp.select(exp.Star(except_=[quoted(number)])).from_(drawn.subquery("drawn"))
        elif config.rate is not None and config.rate < 1:
            query = query.where(exp.LT(this=chance, expression=exp.Literal.number(int(config.rate * _HASHES))))
        return context.session.define(context.node_id, query.order_by(column(number)))
