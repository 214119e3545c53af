"""What has happened: the runs that were asked for, all that the API has said of each, and what was wrong with it."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.pipelines import Chaotic

TERMINAL = frozenset({"succeeded", "failed", "canceled"})


@dataclass(slots=True)
class AskedRun:
    """A run that a caller has asked for. `run_id` once the API has said so; `seen`: statuses as they followed."""

    tag: str
    pipeline: Chaotic
    run_id: str = ""
    cancel_at: float | None = None  # monotonic seconds: when its caller changes his mind
    cancel_stands: bool = False  # the API has said that it will be canceled
    seen: list[tuple[float, str]] = field(default_factory=list)
    alone_since: float | None = None  # since when it runs without a process

    @property
    def status(self) -> str:
        """The newest status that the API has told."""
        return self.seen[-1][1] if self.seen else "unknown"

    @property
    def has_ended(self) -> bool:
        """Whether it has, according to the API."""
        return self.status in TERMINAL


class History:
    """All of it, from several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self.runs: dict[str, AskedRun] = {}  # by tag
        self.answers: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.timeline: list[str] = []
        self.violations: list[str] = []
        self.settled_after: list[float] = []

    def tell(self, line: str) -> None:
        """Add a line to the timeline."""
        with self._lock:
            self.timeline.append(f"{self.now():7.2f} s  {line}")

    def violate(self, what: str) -> None:
        """Note that a promise was broken."""
        with self._lock:
            self.violations.append(f"{self.now():.2f} s: {what}")
            self.tell(f"VIOLATION {what}")

    def count(self, answer: str) -> None:
        """Note an answer of the API, or that there was none."""
        with self._lock:
            self.answers[answer] += 1

    def add(self, run: AskedRun) -> None:
        """Note a run that is about to be asked for."""
        with self._lock:
            self.runs[run.tag] = run

    def now(self) -> float:
        """The seconds since the beginning."""
        return time.monotonic() - self._began

    def see(self, run: AskedRun, status: str, *, asked_at: float) -> None:
        """Note what the API says of a run to one who has asked at that moment.

        An answer to an earlier question, which another caller's has overtaken, may still tell of the time before.
        """
        with self._lock:
            if run.has_ended and asked_at < run.seen[-1][0]:
                return
            if run.status in TERMINAL and status != run.status:
                self.violate(f"{run.pipeline.name} {run.run_id} was {run.status} and is {status}")
            if run.cancel_stands and status in {"succeeded", "failed"}:
                self.violate(f"{run.pipeline.name} {run.run_id} is {status}, but its cancellation was accepted")
            if status != run.status:
                run.seen.append((self.now(), status))
                self.tell(f"run {run.run_id} ({run.pipeline.name}) is {status}")

    def all_runs(self) -> list[AskedRun]:
        """Every run, in the order of asking."""
        with self._lock:
            return list(self.runs.values())

    def open_runs(self) -> list[AskedRun]:
        """The runs that have not ended, those too of which the API has not answered yet."""
        return [run for run in self.all_runs() if not run.has_ended]
