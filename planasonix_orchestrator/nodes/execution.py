"""Runs one node: builds or writes its relation, decides what to keep, and counts exactly what went in and out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.errors import NodeError, NodeOutOfMemoryError
from planasonix_orchestrator.nodes.base import (
    Destination,
    Inputs,
    NodeConfig,
    NodeContext,
    NodeType,
    Source,
    Transform,
)

Storage = Literal["view", "table", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeResult:
    """What a node did. Figures are exact; None where the node has no such figure.

    `relation` is what goes on to the next nodes (None for destinations); `target` and `details` say what a destination
    wrote.
    """

    relation: Relation | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    bytes_read: int | None = None
    bytes_written: int | None = None
    bytes_shuffled: int | None = None
    target: str | None = None
    details: Mapping[str, str | int | float] = field(default_factory=dict)


def run_node(
    node_type: NodeType[Any],
    *,
    config: NodeConfig,
    inputs: Inputs,
    storage: Storage,
    context: NodeContext,
) -> NodeResult:
    """Run a node on relations whose rows are known, and return what it did with every figure filled in.

    If rows are at fault that another node computes, fused with this one, the error is an `UpstreamNodeError`.
    """
    try:
        return _run(node_type, config=config, inputs=inputs, storage=storage, context=context)
    except MemoryError as error:
        raise NodeOutOfMemoryError(str(error)) from error
    except NodeError as error:
        fault = context.session.blame(error, readers=[named.relation for named in inputs])
        if fault is error:
            raise
        raise fault from error


def _run(
    node_type: NodeType[Any], *, config: NodeConfig, inputs: Inputs, storage: Storage, context: NodeContext
) -> NodeResult:
    rows_in = sum(named.relation.rows or 0 for named in inputs) if node_type.inputs else None
    if isinstance(node_type, Destination):
        written = node_type.write(config, inputs.one(), context)
        return NodeResult(rows_in=rows_in, bytes_written=written.bytes, target=written.target, details=written.details)
    if isinstance(node_type, Source):
        relation = node_type.read(config, context)
    elif isinstance(node_type, Transform):
        relation = node_type.apply(config, inputs, context)
        if node_type.keeps_rows:
            relation = relation.with_figures(rows=rows_in)
    else:
        raise TypeError(f"{node_type!r} is neither a source, a transform nor a destination")
    if storage == "table" and not relation.materialised:
        relation = context.session.materialise(relation)
    relation = context.session.count(relation)
    return NodeResult(
        relation=relation,
        rows_in=rows_in,
        rows_out=relation.rows,
        bytes_read=relation.bytes_read,
        bytes_shuffled=relation.bytes_shuffled,
    )
