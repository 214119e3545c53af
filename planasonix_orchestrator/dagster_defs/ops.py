"""One shared op per node type; a job's nodes are aliases of these.

Inputs and outputs are of Dagster's type Nothing: they order the steps, while relations stay in the run's session.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dagster import AssetMaterialization, In, Nothing, OpDefinition, OpExecutionContext, Out, Output, op

from planasonix_orchestrator.contract.metadata import PIPELINE_RESOURCE
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.contract.tags import NODE_TYPE
from planasonix_orchestrator.dagster_defs.config_schema import build_config_schema
from planasonix_orchestrator.dagster_defs.failures import raise_failure
from planasonix_orchestrator.dagster_defs.pipeline_run import PipelineRun
from planasonix_orchestrator.dagster_defs.reporting import log_line, materializations, output_metadata
from planasonix_orchestrator.nodes.base import NodeType
from planasonix_orchestrator.nodes.catalog import DuplicateNodeTypeError, NodeCatalog

DONE = "done"  # the output of nodes that have none of their own: it carries their metadata


def build_ops(catalog: NodeCatalog) -> dict[str, OpDefinition]:
    """Return the op of every node type, by type name."""
    ops = {node_type.type_name: build_op(node_type) for node_type in catalog}
    owners: dict[str, str] = {}
    for type_name, definition in ops.items():
        owner = owners.setdefault(definition.name, type_name)
        if owner != type_name:
            raise DuplicateNodeTypeError(definition.name, owner, type_name)
    return ops


class LazyOps(Mapping[str, OpDefinition]):
    """The ops of a catalog by type name, each built when it is first asked for, and only once."""

    def __init__(self, catalog: NodeCatalog) -> None:
        self._catalog = catalog
        self._built: dict[str, OpDefinition] = {}

    def __getitem__(self, type_name: str) -> OpDefinition:
        if type_name not in self._built:
            self._built[type_name] = build_op(self._catalog.get(type_name))
        return self._built[type_name]

    def __iter__(self) -> Iterator[str]:
        return (node_type.type_name for node_type in self._catalog)

    def __len__(self) -> int:
        return len(self._catalog)


def build_op(node_type: NodeType[Any]) -> OpDefinition:
    """Return the op of a node type: `source_csv` of `source.csv`, with its ports, config and icons."""

    @op(
        name=re.sub(r"[^A-Za-z0-9_]", "_", node_type.type_name),
        description=node_type.__doc__,
        ins={encode_name(port.name): In(Nothing, description=f"Port {port.name}.") for port in node_type.inputs},
        out={output_name(node_type): Out(Nothing, description="The node's rows, in the run's session.")},
        config_schema=build_config_schema(node_type.config_model),
        required_resource_keys={PIPELINE_RESOURCE},
        tags=node_tags(node_type),
    )
    def run_node_of_type(context: OpExecutionContext) -> Iterator[AssetMaterialization | Output[None]]:
        run: PipelineRun = getattr(context.resources, PIPELINE_RESOURCE)
        step = run.step_of(context.op_handle.name)
        with run.meter.measured() as used:
            try:
                result = run.run_step(step, config=context.op_config, log=context.log)
            except Exception as error:  # the translator of whatever nodes raise
                raise_failure(error, retries=step.retries, attempt=context.retry_number, usage=used())
            usage = used()
        context.log.info(log_line(result))
        yield from materializations(
            result,
            inputs=run.input_relations(step),
            base=run.surroundings.base,
            connection_ids=tuple(run.surroundings.connections),
        )
        yield Output(None, output_name=output_name(node_type), metadata=output_metadata(result, usage=usage))

    return run_node_of_type


def output_name(node_type: NodeType[Any]) -> str:
    """Return the name of the one output that a node type's op has."""
    return encode_name(node_type.outputs[0]) if node_type.outputs else DONE


def node_tags(node_type: NodeType[Any]) -> Mapping[str, str]:
    """Return the tags of a node type's op: the type, and Dagster's icons for its kinds.

    Dagster's pages of assets and ops read the kinds, its picture of a job's graph only the older compute kind.
    """
    icon = {"dagster/compute_kind": node_type.kinds[0]} if node_type.kinds else {}
    return {NODE_TYPE: node_type.type_name, **icon, **{f"dagster/kind/{kind}": "" for kind in node_type.kinds}}
