"""What the code location publishes of each pipeline, as JSON, under the metadata keys PIPELINES and PROBLEMS."""

from typing import Any, Literal, NotRequired, TypedDict


class PublishedInput(TypedDict):
    """Where rows of a step come from: the node `nodeId`, in at the step's own `port`."""

    nodeId: str
    port: str


class PublishedStep(TypedDict):
    """A node as the plan has it.

    Rows of a *view* are computed by whoever reads them, those of a *table* are kept, a destination has *none*; `reason`
    says why. Steps of one `stage` are pushed together: one scan computes them.
    """

    nodeId: str
    type: str
    name: str | None
    stage: int
    storage: Literal["view", "table", "none"]
    reason: str
    inputs: list[PublishedInput]
    retries: int
    timeoutSeconds: float | None


class PublishedPipeline(TypedDict):
    """A pipeline that loaded. `document` is the graph document in the API's shape (camelCase); times RFC 3339 UTC."""

    id: str
    name: str
    jobName: str
    version: str
    updatedAt: str | None
    plan: list[PublishedStep]  # in topological order
    requiredVariables: list[str]  # those that a run must set
    document: dict[str, Any]


class PublishedProblem(TypedDict):
    """A problem of a document that did not load; see `planasonix_orchestrator.errors.Problem`.

    `pipelineId` is the id that the document gives itself, where that much of it can be read.
    """

    code: str
    message: str
    file: str | None
    line: int | None
    column: int | None
    path: str
    hint: str | None
    pipelineId: NotRequired[str | None]
