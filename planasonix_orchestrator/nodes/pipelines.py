"""How a node starts runs of other pipelines: the port to what runs pipelines, of which nodes know no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from logging import Logger, LoggerAdapter
from typing import Literal, Protocol

from planasonix_orchestrator.errors import TerminalNodeError

EndedAs = Literal["succeeded", "failed", "canceled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOrder:
    """A run that a node wants to have. Without an environment it is in that of the node's own run.

    `wait` for its end, at most so many seconds. `again`: if an earlier attempt of the node has had one that did not
    succeed, another one is wanted.
    """

    node_id: str
    pipeline_id: str
    variables: Mapping[str, str | int | float | bool | None]
    environment_id: str | None
    wait: bool
    timeout_seconds: float | None
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRun:
    """A run that was started, by its id in the API; `ended_as` is None if it was not waited for, or not long enough."""

    id: str
    ended_as: EndedAs | None


class Pipelines(Protocol):
    """What starts runs."""

    def run(self, order: PipelineOrder, *, log: "Logger | LoggerAdapter[Logger]") -> ChildRun | None:
        """Start a run once, however often a node asks for it, and wait for its end if that is wanted.

        None where it is known to have been started before, in another process. `NodeError` if it can't be started. If
        the node is stopped while it waits, or has waited long enough, the run is canceled.
        """


class NoPipelines:
    """Where nodes run by themselves: nothing can be started there."""

    def run(self, order: PipelineOrder, *, log: "Logger | LoggerAdapter[Logger]") -> ChildRun | None:  # noqa: ARG002
        """Refuse."""
        raise TerminalNodeError(f"pipeline {order.pipeline_id!r} can't be started: this is no run of a pipeline")


class StartedBefore:
    """Where a node's rows are built again, in a run or a process that it is no part of: what it starts was started."""

    def run(self, order: PipelineOrder, *, log: "Logger | LoggerAdapter[Logger]") -> None:
        """Start nothing."""
