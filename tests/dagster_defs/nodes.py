"""Node types for the tests of Dagster's side: small, real, and able to fail or to be slow when told."""

import time
from pathlib import Path
from typing import Any, ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.sql import parse_expression
from planasonix_orchestrator.errors import NodeError, NodePolicyError
from planasonix_orchestrator.nodes.base import (
    Destination,
    InputPort,
    Inputs,
    NodeConfig,
    NodeContext,
    Source,
    Transform,
    Written,
)
from planasonix_orchestrator.nodes.catalog import NodeCatalog


def note(file: Path, text: str) -> None:
    """Add to a file that a test reads afterwards."""
    with file.open("a") as notes:
        notes.write(text)


class NumbersConfig(NodeConfig):
    rows: int = 10
    """How many numbers."""
    order: Literal["up", "down"] = "up"
    """Which way they go."""
    label: str | None = None
    """A text beside each."""


class Numbers(Source[NumbersConfig]):
    """Yields the numbers from 0 on."""

    type_name = "source.numbers"
    title = "Numbers"
    kinds = ("python",)
    config_model = NumbersConfig
    example: ClassVar = {"rows": 3}

    def read(self, config: NumbersConfig, context: NodeContext) -> Relation:
        note(context.base / "reads.txt", f"{context.node_id}\n")
        query = exp.select("range AS n", exp.alias_(exp.convert(config.label), "label")).from_(
            exp.func("range", exp.convert(config.rows))
        )
        return context.session.define(context.node_id, query).with_figures(bytes_read=8 * config.rows)


class KeepConfig(NodeConfig):
    expression: str
    """Rows for which this is true are kept."""


class Keep(Transform[KeepConfig]):
    """Keeps some rows."""

    type_name = "transform.keep"
    aliases = ("keep",)
    title = "Keep"
    kinds = ("duckdb",)
    config_model = KeepConfig
    example: ClassVar = {"expression": "n > 1"}

    def apply(self, config: KeepConfig, inputs: Inputs, context: NodeContext) -> Relation:
        condition = parse_expression(config.expression)
        return context.session.define(context.node_id, inputs.one().select().where(condition))


class NoConfig(NodeConfig):
    """Nothing to configure."""


class Stack(Transform[NoConfig]):
    """Puts the rows of all its inputs into one relation, and those of an optional extra one."""

    type_name = "transform.stack"
    title = "Stack"
    config_model = NoConfig
    inputs = (InputPort("input", many=True), InputPort("extra", required=False))
    example: ClassVar = {}

    def apply(self, _: NoConfig, inputs: Inputs, context: NodeContext) -> Relation:
        names = ",".join(named.name for named in inputs)
        query: exp.Query | None = None
        for named in inputs:
            part = named.relation.select("n", exp.alias_(exp.convert(names), "label"))
            query = part if query is None else exp.union(query, part, distinct=False)
        assert query is not None
        return context.session.define(context.node_id, query)


class FlakyConfig(NodeConfig):
    failures: int = 1
    """How many attempts fail first."""
    bug: bool = False
    """Fail as code with a bug does."""


class Flaky(Transform[FlakyConfig]):
    """Fails a number of times before it passes its rows on."""

    type_name = "transform.flaky"
    title = "Flaky"
    config_model = FlakyConfig
    keeps_rows = True
    example: ClassVar = {}

    def apply(self, config: FlakyConfig, inputs: Inputs, context: NodeContext) -> Relation:
        attempts = context.base / f"{context.node_id}.attempts"
        note(attempts, ".")
        relation = context.session.define(context.node_id, inputs.one().select())
        if len(attempts.read_text()) <= config.failures:
            if config.bug:
                raise ZeroDivisionError("one by nought")
            raise NodeError("the server is away", hint="try again later")
        return relation


class TroubledConfig(NodeConfig):
    trouble: Literal["rule", "engine memory", "python memory"]
    """What it gets into."""


class Troubled(Transform[TroubledConfig]):
    """Refuses by a rule, or takes more memory than there is."""

    type_name = "transform.troubled"
    title = "Troubled"
    config_model = TroubledConfig
    example: ClassVar = {"trouble": "rule"}

    def apply(self, config: TroubledConfig, _: Inputs, context: NodeContext) -> Relation:
        match config.trouble:
            case "rule":
                raise NodePolicyError("2 of 10 rows break the rule n > 1", hint="see the report")
            case "python memory":
                bytes(1 << 62)
        query = exp.select("list(range) AS n").from_("range(20000000)")
        return context.session.materialise(context.session.define(context.node_id, query))


class SlowConfig(NodeConfig):
    seconds: float
    """How long a query takes."""
    inside: Literal["engine", "python"] = "engine"
    """Where the time goes."""


class Slow(Transform[SlowConfig]):
    """Takes its time."""

    type_name = "transform.slow"
    title = "Slow"
    config_model = SlowConfig
    example: ClassVar = {"seconds": 1}

    def apply(self, config: SlowConfig, inputs: Inputs, context: NodeContext) -> Relation:
        note(context.base / f"{context.node_id}.started", ".")
        until = time.monotonic() + config.seconds
        while time.monotonic() < until:
            if config.inside == "engine":
                with context.session.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM range(30000000) AS a(n) WHERE hash(n) % 7 = 1").fetchall()
        return context.session.define(context.node_id, inputs.one().select())


class CollectConfig(NodeConfig):
    path: str
    """A text file, one line for each row."""


class Collect(Destination[CollectConfig]):
    """Writes its rows as text."""

    type_name = "destination.collect"
    title = "Collect"
    kinds = ("python",)
    config_model = CollectConfig
    example: ClassVar = {"path": "out.txt"}

    def write(self, config: CollectConfig, rows: Relation, context: NodeContext) -> Written:
        with context.session.stream(rows.select()) as batches:
            lines = [str(row) for batch in batches.reader for row in batch.to_pylist()]
        path = context.base / config.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        return Written(rows=len(lines), bytes=path.stat().st_size, target=str(path), details={"lines": len(lines)})


def build_catalog(*more: Any) -> NodeCatalog:
    """The node types of this module."""
    return NodeCatalog([Numbers(), Keep(), Stack(), Flaky(), Troubled(), Slow(), Collect(), *more])
