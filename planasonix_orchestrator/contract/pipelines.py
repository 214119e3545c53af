"""What the code location publishes, as JSON, under the metadata keys PIPELINES, PROBLEMS and ENVIRONMENTS."""

from typing import Any, Literal, NotRequired, TypedDict

from planasonix_orchestrator.contract.values import VariableValue

ExecutorType = Literal["threads", "in_process", "multiprocess"]


class PublishedExecutor(TypedDict):
    """How nodes of a run are executed; what stays unsaid is null."""

    type: ExecutorType | None
    maxParallelNodes: int | None


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
    requiredVariables: list[
        str
    ]  # those without a default: a run must set them, unless its environment or a global does
    maxConcurrentRuns: int | None
    timeoutSeconds: float | None  # of a whole run
    executor: PublishedExecutor | None
    document: dict[str, Any]


class PublishedEnvironment(TypedDict):
    """An environment: `connections` says which connection is used instead of the one that a document names."""

    id: str
    name: str
    variables: dict[str, VariableValue]
    connections: dict[str, str]
    maxConcurrentRuns: int | None
    executor: PublishedExecutor | None


class PublishedEnvironments(TypedDict):
    """What environments.yaml says; `resolution.choose_environment` finds a run's environment in it.

    `variables` are the global ones, `default` is the environment of runs that name none, `faulty` are ids that have
    problems. Where the file can't be read, `readable` is false: nobody knows in which environment a run would be.
    """

    variables: dict[str, VariableValue]
    default: str | None
    environments: list[PublishedEnvironment]
    faulty: list[str]
    readable: bool


def no_environments() -> PublishedEnvironments:
    """Return what is published of a folder without environments.yaml."""
    return {"variables": {}, "default": None, "environments": [], "faulty": [], "readable": True}


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
