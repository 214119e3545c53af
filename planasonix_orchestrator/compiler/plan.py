"""The compiled pipeline: frozen data that says what runs in which order, and where rows are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.contract.pipelines import ExecutorType
from planasonix_orchestrator.contract.values import VariableType, VariableValue
from planasonix_orchestrator.graph.document import ScheduleDocument
from planasonix_orchestrator.graph.triggers import TriggerDocument

Storage = Literal["view", "table", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInput:
    """An edge as the step at its end sees it.

    `port` is the step's own port, `node_id` and `output` where the rows come from, `name` what SQL calls them:
    the edge's target port if it has one of its own, else the upstream node id.
    """

    port: str
    node_id: str
    output: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A node, ready to run.

    `type` is the full node type, never an alias; `config` is complete (defaults filled in), camelCase, JSON, and still
    has its `{{ variables }}`. `storage` says how its rows go on: a *view* is computed by whoever reads it, a
    *table* is kept, a destination has *none*; `storage_reason` is the plain reason. `stage` numbers the pushed-together
    group: steps of one stage are computed by the same scan.
    """

    node_id: str
    type: str
    title: str
    name: str | None = None
    description: str | None = None
    kinds: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[StepInput, ...] = ()
    storage: Storage = "view"
    storage_reason: str = ""
    stage: int = 0
    retries: int = 0
    timeout_seconds: float | None = None

    @property
    def op_name(self) -> str:
        """The name of this step's op in the Dagster job."""
        return encode_name(self.node_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanVariable:
    """A declared variable. `required` ones must be set by the run; others have `default`."""

    name: str
    type: VariableType
    default: VariableValue = None
    required: bool = False
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExecutor:
    """How nodes of a run are executed; None where the document leaves it to the environment or the default."""

    type: ExecutorType | None = None
    max_parallel_nodes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinePlan:
    """A pipeline, compiled. `steps` are in topological order, stable for equal documents.

    `version` is the content hash of the document (hex, 16 characters); `document` the document as JSON in the shape
    of the API, edges with `source` and `target`. `timeout_seconds` limits a whole run.
    """

    pipeline_id: str
    name: str
    description: str | None
    version: str
    tags: Mapping[str, str]
    variables: tuple[PlanVariable, ...]
    steps: tuple[Step, ...]
    document: Mapping[str, Any]
    schedules: tuple[ScheduleDocument, ...] = ()
    triggers: tuple[TriggerDocument, ...] = ()
    max_concurrent_runs: int | None = None
    timeout_seconds: float | None = None
    executor: PlanExecutor | None = None
    file: str | None = None
    updated_at: datetime | None = None

    @property
    def job_name(self) -> str:
        """The name of the Dagster job."""
        return encode_name(self.name)

    def step(self, node_id: str) -> Step:
        """Return the step of a node; `KeyError` if there is none."""
        for step in self.steps:
            if step.node_id == node_id:
                return step
        raise KeyError(node_id)
