"""How runs go on: how many at once, how long, and how their nodes are executed."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from planasonix_orchestrator.graph.model import DocumentModel

RunLimit = Annotated[int, Field(ge=1)]


class ExecutorDocument(DocumentModel):
    """How the nodes of a run are executed."""

    type: Literal["threads", "in_process", "multiprocess"] | None = Field(
        default=None,
        description="Threads of the run's process, one after the other in it, or a process of its own for each node.",
    )
    max_parallel_nodes: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many nodes work at once."
    )

    @model_validator(mode="after")
    def _has_something_to_limit(self) -> Self:
        if self.type == "in_process" and (self.max_parallel_nodes or 1) > 1:
            raise ValueError("'in_process' works on one node at a time: leave out 'maxParallelNodes', or use 'threads'")
        return self
