"""A run of a plan in this process: its session, its variables, and the relations that its nodes have yielded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import Logger, LoggerAdapter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planasonix_orchestrator.compiler.plan import PipelinePlan, Step
from planasonix_orchestrator.contract.pipelines import PublishedEnvironments, no_environments
from planasonix_orchestrator.dagster_defs.interruption import run_interruptibly
from planasonix_orchestrator.dagster_defs.usage import UsageMeter
from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.engine.stopping import Turns
from planasonix_orchestrator.errors import NodeConfigError, NodeError, UpstreamNodeError
from planasonix_orchestrator.graph.model import VariableValue
from planasonix_orchestrator.graph.variables import TemplateError, UnknownVariableError, render
from planasonix_orchestrator.nodes.base import Inputs, NamedRelation, NodeConfig, NodeContext, NodeType
from planasonix_orchestrator.nodes.catalog import NodeCatalog
from planasonix_orchestrator.nodes.execution import NodeResult, run_node
from planasonix_orchestrator.nodes.pipelines import Pipelines, StartedBefore

Log = Logger | LoggerAdapter[Logger]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all runs of a deployment share: node types, connections, environments, and where relative paths start."""

    catalog: NodeCatalog
    connections: Connections
    base: Path
    environments: PublishedEnvironments = field(default_factory=no_environments)


class PipelineRun:
    """Runs the steps of a plan, in any order in which inputs come first, each once.

    A step whose upstream steps have not run here (a selection of ops, a re-execution from failure) gets its inputs
    all the same: what is missing is built again from the sources. Safe to use from several threads. `meter` measures
    what the steps cost.
    """

    def __init__(
        self,
        plan: PipelinePlan,
        *,
        surroundings: Surroundings,
        session: Session,
        variables: Mapping[str, VariableValue],
        run_id: str,
        configs: Mapping[str, Mapping[str, Any]],
        pipelines: Pipelines,
    ) -> None:
        """Take `configs`, by node id, for nodes that are built again; others have the plan's.

        `pipelines` starts what nodes start.
        """
        self.plan = plan
        self.surroundings = surroundings
        self._session = session
        self._variables = variables
        self._run_id = run_id
        self._configs = configs
        self._pipelines = pipelines
        self._steps = {step.node_id: step for step in plan.steps}
        self._op_steps = {step.op_name: step for step in plan.steps}
        self._results: dict[str, NodeResult] = {}
        self._turns = {step.node_id: Turns() for step in plan.steps}
        self.meter = UsageMeter()

    def step_of(self, op_name: str) -> Step:
        """Return the step that an op of the job stands for."""
        return self._op_steps[op_name]

    def run_step(self, step: Step, *, config: Mapping[str, Any], log: Log) -> NodeResult:
        """Run a step with a config that may hold `{{ variables }}`, within its time limit."""

        def work() -> NodeResult:
            self._build_missing_inputs(step, log=log)
            return self._run(step, config=config, log=log, pipelines=self._pipelines)

        return run_interruptibly(work, seconds=step.timeout_seconds)

    def input_relations(self, step: Step) -> tuple[Relation, ...]:
        """Return the relations that have arrived at a step, in edge order."""
        return tuple(self._relation_of(edge.node_id) for edge in step.inputs)

    def _relation_of(self, node_id: str) -> Relation:
        relation = self._results[node_id].relation
        assert relation is not None  # noqa: S101  (only destinations have none, and no edge starts there)
        return relation

    def _run(self, step: Step, *, config: Mapping[str, Any], log: Log, pipelines: Pipelines) -> NodeResult:
        with self._turns[step.node_id].turn():  # of the step itself, and of those that miss what it yields
            if step.node_id not in self._results:
                self._results[step.node_id] = self._run_node(step, config=config, log=log, pipelines=pipelines)
            return self._results[step.node_id]

    def _run_node(self, step: Step, *, config: Mapping[str, Any], log: Log, pipelines: Pipelines) -> NodeResult:
        node_type = self.surroundings.catalog.get(step.type)
        return run_node(
            node_type,
            config=resolve_config(node_type, step=step, config=config, variables=self._variables),
            inputs=self._inputs(step),
            storage=step.storage,
            context=NodeContext(
                node_id=step.node_id,
                run_id=self._run_id,
                session=self._session,
                connections=self.surroundings.connections,
                base=self.surroundings.base,
                log=log,
                pipelines=pipelines,
            ),
        )

    def _inputs(self, step: Step) -> Inputs:
        ports: dict[str, list[NamedRelation]] = {}
        for edge in step.inputs:
            named = NamedRelation(name=edge.name, relation=self._relation_of(edge.node_id))
            ports.setdefault(edge.port, []).append(named)
        return Inputs(ports)

    def _build_missing_inputs(self, step: Step, *, log: Log) -> None:
        missing = self._missing_upstream(step)
        for upstream in self.plan.steps:
            if upstream.node_id in missing:
                log.info("Building %s again: it is not part of this run", upstream.node_id)
                self._rebuild(upstream, log=log)

    def _rebuild(self, step: Step, *, log: Log) -> None:
        try:
            config = self._configs.get(step.node_id, step.config)
            self._run(step, config=config, log=log, pipelines=StartedBefore())
        except UpstreamNodeError:
            raise
        except NodeError as error:
            raise UpstreamNodeError(step.node_id, fault=error) from error

    def _missing_upstream(self, step: Step) -> set[str]:
        missing: set[str] = set()
        ahead = [step]
        while ahead:
            for edge in ahead.pop().inputs:
                if edge.node_id not in self._results and edge.node_id not in missing:
                    missing.add(edge.node_id)
                    ahead.append(self._steps[edge.node_id])
        return missing


def resolve_config(
    node_type: NodeType[Any], *, step: Step, config: Mapping[str, Any], variables: Mapping[str, VariableValue]
) -> NodeConfig:
    """Return a node's config with its templates replaced; `NodeConfigError` names the node and its wrong fields."""
    try:
        values = render(config, variables=variables)
    except (TemplateError, UnknownVariableError) as error:
        raise NodeConfigError(step.node_id, [str(error)]) from error
    try:
        return node_type.config_model.model_validate(values)
    except ValidationError as error:
        raise NodeConfigError(step.node_id, [_fault(each) for each in error.errors()]) from error


def _fault(error: Mapping[str, Any]) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    given = f", not {error['input']!r}" if isinstance(error["input"], str | int | float) else ""
    return f"{place or 'config'}: {error['msg']}{given}"
