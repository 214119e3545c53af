"""Runs a compiled plan step by step without Dagster: what the compiler and the engine cost by themselves."""

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from planasonix_orchestrator.compiler.plan import PipelinePlan, Step
from planasonix_orchestrator.engine.connections import Connection, Connections
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.graph.model import VariableValue
from planasonix_orchestrator.graph.variables import render
from planasonix_orchestrator.nodes.base import Inputs, NamedRelation, NodeContext
from planasonix_orchestrator.nodes.catalog import NodeCatalog
from planasonix_orchestrator.nodes.execution import NodeResult, run_node

LOG = logging.getLogger("benchmarks")


def run_plan(
    plan: PipelinePlan,
    *,
    catalog: NodeCatalog,
    connections: Mapping[str, Connection],
    base: Path,
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, VariableValue] | None = None,
    materialise: Literal["planned", "every node"] = "planned",
) -> dict[str, NodeResult]:
    """Run all steps of a plan in a session of their own, and return each step's result.

    Paths start at `base`; `environment` holds the secrets; `variables` come before the declared defaults.
    With `every node`, each step keeps its rows, as orchestrators do that hand data from task to task.
    """
    values = {variable.name: variable.default for variable in plan.variables} | dict(variables or {})
    results: dict[str, NodeResult] = {}
    relations: dict[str, Relation] = {}
    with TemporaryDirectory() as spill, Session(spill=Path(spill)) as session:
        for step in plan.steps:
            node_type = catalog.get(step.type)
            result = run_node(
                node_type,
                config=node_type.config_model.model_validate(render(step.config, variables=values)),
                inputs=_inputs(step, relations=relations),
                storage="table" if materialise == "every node" and step.storage == "view" else step.storage,
                context=NodeContext(
                    node_id=step.node_id,
                    run_id="benchmark",
                    session=session,
                    connections=Connections(connections, environment=environment or {}),
                    base=base,
                    log=LOG,
                ),
            )
            results[step.node_id] = result
            if result.relation is not None:
                relations[step.node_id] = result.relation
    return results


def _inputs(step: Step, *, relations: Mapping[str, Relation]) -> Inputs:
    ports: dict[str, list[NamedRelation]] = {}
    for edge in step.inputs:
        ports.setdefault(edge.port, []).append(NamedRelation(name=edge.name, relation=relations[edge.node_id]))
    return Inputs(ports)
