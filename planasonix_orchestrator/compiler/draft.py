"""A pipeline on its way to a plan: what the passes have found out so far."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planasonix_orchestrator.compiler.plan import Step, StepInput, Storage
from planasonix_orchestrator.engine.connections import Connection
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.document import NodeDocument, PipelineDocument
from planasonix_orchestrator.graph.loading import LoadedPipeline
from planasonix_orchestrator.nodes.base import NodeConfig, NodeType
from planasonix_orchestrator.nodes.catalog import NodeCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftStep:
    """A node whose type is known. `place` is its index in the document; the rest as in `Step`.

    `config` is None where it has problems. `sql_reason` says why its SQL gives other rows each time, if it does.
    """

    place: int
    node: NodeDocument
    node_type: NodeType[Any]
    config: NodeConfig | None = None
    settings: Mapping[str, Any]
    inputs: tuple[StepInput, ...] = ()
    sql_reason: str | None = None
    storage: Storage = "view"
    storage_reason: str = ""
    stage: int = 0

    @property
    def label(self) -> str:
        """The step as problems call it: ``node 'n_filter' (transform.filter)``."""
        return f"node {self.node.id!r} ({self.node_type.type_name})"

    def config_path(self, path: Sequence[str | int] = ()) -> tuple[str | int, ...]:
        """Return the document path of the config, or of a place in it."""
        return ("nodes", self.place, "config", *path)

    def as_step(self) -> Step:
        """Return the step as the plan has it."""
        return Step(
            node_id=self.node.id,
            type=self.node_type.type_name,
            title=self.node_type.title,
            name=self.node.name,
            description=self.node.description,
            kinds=self.node_type.kinds,
            config=self.settings,
            inputs=self.inputs,
            storage=self.storage,
            storage_reason=self.storage_reason,
            stage=self.stage,
            retries=self.node.retries,
            timeout_seconds=self.node.timeout_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is known of a pipeline. Nodes of unknown type are not among the `steps`, but among the `problems`."""

    loaded: LoadedPipeline
    catalog: NodeCatalog
    connections: Mapping[str, Connection]
    steps: tuple[DraftStep, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def document(self) -> PipelineDocument:
        """The document that is being compiled."""
        return self.loaded.document

    def having(self, *, steps: Iterable[DraftStep] | None = None, problems: Iterable[Problem] = ()) -> "Draft":
        """Return the draft with other steps, if any are given, and with more problems."""
        return replace(
            self,
            steps=self.steps if steps is None else tuple(steps),
            problems=(*self.problems, *problems),
        )
