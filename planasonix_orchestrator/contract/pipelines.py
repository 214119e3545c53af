"""What the code location publishes of each pipeline, as JSON, under the metadata keys PIPELINES and PROBLEMS."""

from typing import Any, NotRequired, TypedDict


class PublishedPipeline(TypedDict):
    """A pipeline that loaded. `document` is the graph document in the API's shape (camelCase); times RFC 3339 UTC."""

    id: str
    name: str
    jobName: str
    version: str
    updatedAt: str | None
    order: list[str]  # node ids in topological order
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
