"""Steps of a run in Dagster's sense, as their events tell them: their state, attempts and figures."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from api_adapter.storage.events import EventError
from api_adapter.storage.story import StoryEvent
from planasonix_orchestrator.contract import metadata

NodeStatus = Literal["pending", "queued", "running", "succeeded", "failed", "skipped", "canceled"]
StepState = Literal["none", "running", "waiting", "succeeded", "failed", "skipped"]

FIGURES = (
    metadata.ROWS_IN,
    metadata.ROWS_OUT,
    metadata.BYTES_READ,
    metadata.BYTES_WRITTEN,
    metadata.BYTES_SHUFFLED,
    metadata.CPU_SECONDS,
    metadata.PEAK_MEMORY_BYTES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a node; `error` is why it failed."""

    started_at: datetime
    finished_at: datetime | None = None
    status: NodeStatus = "running"
    error: EventError | None = None


@dataclass(slots=True)
class Step:
    """A step, as far as its events have told it. `keys` are of the steps that its dynamic outputs will make."""

    state: StepState = "none"
    finished_at: datetime | None = None
    attempts: list[Attempt] = field(default_factory=list)
    retries: int = 0
    metrics: dict[str, int | float] = field(default_factory=dict)
    error: EventError | None = None
    keys: set[str] = field(default_factory=set)

    @property
    def started_at(self) -> datetime | None:
        """When its first attempt began."""
        return self.attempts[0].started_at if self.attempts else None

    def take(self, event: StoryEvent) -> None:
        """Take note of the step's next event."""
        match event.type:
            case "STEP_START" | "STEP_RESTARTED":
                self.state, self.finished_at, self.error = "running", None, None
                self.retries = len(self.attempts)
                self.attempts.append(Attempt(started_at=event.time))
                self.metrics.clear()
                self.keys.clear()
            case "STEP_OUTPUT":
                self._take_output(event)
            case "STEP_UP_FOR_RETRY":
                self.state, self.error = "waiting", event.event.error
                self._end_attempt(event, status="failed")
            case "STEP_SUCCESS":
                self.state, self.finished_at, self.error = "succeeded", event.time, None
                self._end_attempt(event, status="succeeded")
            case "STEP_FAILURE":
                told = event.event
                self.state, self.finished_at, self.error = "failed", event.time, told.error
                self.metrics.update(told.figures)
                self._end_attempt(event, status="failed")
            case "STEP_SKIPPED":
                self.state, self.finished_at = "skipped", event.time

    def _take_output(self, event: StoryEvent) -> None:
        told = event.event
        for label, value in told.figures.items():
            self.metrics[label] = self.metrics.get(label, 0) + value
        key = (told.data.get("step_output_handle") or {}).get("mapping_key")
        if key is not None:
            self.keys.add(f"{key}]")

    def _end_attempt(self, event: StoryEvent, *, status: NodeStatus) -> None:
        if self.attempts:
            error = self.error if status == "failed" else None
            started_at = self.attempts[-1].started_at
            self.attempts[-1] = Attempt(started_at=started_at, finished_at=event.time, status=status, error=error)


# Of several states, the one that tells the most comes first.
_LEADING: tuple[StepState, ...] = ("running", "waiting", "failed", "succeeded", "skipped", "none")


def merge(parts: Mapping[str, Step], *, expected: Collection[str]) -> Step:
    """Return a node's one step, or all the steps that Dagster has split it into as if they were one.

    `parts` are by key. It has not ended before those that are `expected` have.
    """
    if not parts:
        return Step()
    if "" in parts:
        return parts[""]
    steps = list(parts.values())
    states = {step.state for step in steps} | ({"running"} if set(expected) - parts.keys() else set())
    state = next(state for state in _LEADING if state in states)
    ends = [step.finished_at for step in steps if step.finished_at]
    return Step(
        state=state,
        finished_at=max(ends) if ends and state not in {"running", "waiting"} else None,
        attempts=sorted((attempt for step in steps for attempt in step.attempts), key=lambda one: one.started_at),
        retries=sum(step.retries for step in steps),
        metrics=_sums(steps),
        error=next((step.error for step in steps if step.state == "failed"), None),
        keys={key for key, step in parts.items() if step.state not in {"failed", "skipped"}},
    )


def _sums(steps: Collection[Step]) -> dict[str, int | float]:
    figures = {label: [step.metrics[label] for step in steps if label in step.metrics] for label in FIGURES}
    return {
        label: max(values) if label == metadata.PEAK_MEMORY_BYTES else sum(values)
        for label, values in figures.items()
        if values
    }
