"""The shapes of the pipelines resource."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api_adapter.timestamps import Timestamp

PipelineStatus = Literal["draft", "active", "archived"]


class Model(BaseModel):
    """Base of the shapes: camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class PipelineSummary(Model):
    """A pipeline in a list."""

    id: str
    name: str
    project_id: str | None
    folder_id: str | None
    status: PipelineStatus
    updated_at: Timestamp | None


class PipelineProblem(Model):
    """A problem of a document that did not load: where it stands, what it is, what to do about it."""

    code: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str = "$"
    hint: str | None = None
    pipeline_id: str | None = None


class PipelinesMeta(Model):
    """How many pipelines the list has, and the problems of documents that are missing from it."""

    total: int
    problems: list[PipelineProblem]


class PipelineList(Model):
    """All pipelines that are loaded, by name."""

    data: list[PipelineSummary]
    meta: PipelinesMeta


class PipelineDetail(Model):
    """A pipeline's whole graph document, with the version under which it runs; may have further keys."""

    model_config = ConfigDict(extra="allow")

    id: str
    name: str
    status: PipelineStatus = "active"
    version: str = Field(description="Content hash of the document.")
    updated_at: Timestamp | None
    nodes: list[dict[str, Any]]
    edges: list[dict[str, Any]] = []


class StepInput(Model):
    """Where rows of a step come from, and the port at which they come in."""

    node_id: str
    port: str


class PlanStep(Model):
    """A node as it will run."""

    node_id: str = Field(examples=["n_source"])
    type: str = Field(examples=["source.postgres"])
    name: str | None
    stage: int = Field(description="Steps of one stage are pushed together: one scan computes them.")
    storage: Literal["view", "table", "none"] = Field(
        description="Rows of a `view` are computed by whoever reads them; those of a `table` are kept, where they "
        "split or must not be computed twice; a destination has `none`."
    )
    reason: str = Field(description="Why the rows are kept, or not.")
    inputs: list[StepInput]
    retries: int
    timeout_seconds: float | None


class PlanStage(Model):
    """Nodes that are pushed together, in the order in which they run."""

    stage: int
    node_ids: list[str]


class ExecutionPlan(Model):
    """How the current graph will run: the order of its nodes, where rows split, and what is pushed together."""

    pipeline_id: str
    version: str = Field(description="Content hash of the document.")
    order: list[str] = Field(description="Node ids in topological order.")
    steps: list[PlanStep]
    stages: list[PlanStage]
