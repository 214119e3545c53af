"""How many runs may work at once of one pipeline, and in one environment."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from planasonix_orchestrator.run_host.ledger import QueuedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """The limits that are set, by pipeline id and by environment id."""

    by_pipeline: Mapping[str, int] = field(default_factory=dict)
    by_environment: Mapping[str, int] = field(default_factory=dict)

    def taken(self, runs: Sequence[QueuedRun]) -> "Taken":
        """Return how much of the limits these runs take."""
        taken = Taken(self)
        for run in runs:
            taken.add(run)
        return taken


@dataclass(slots=True)
class Taken:
    """How many runs work in each place."""

    limits: QueueLimits
    pipelines: Counter[str] = field(default_factory=Counter)
    environments: Counter[str] = field(default_factory=Counter)

    def add(self, run: QueuedRun) -> None:
        """Count a run."""
        self.pipelines[run.pipeline_id or ""] += 1
        self.environments[run.environment_id or ""] += 1

    def has_room(self, run: QueuedRun) -> bool:
        """Tell whether one more run fits into the places of this one."""
        full_pipelines, full_environments = self.full()
        return run.pipeline_id not in full_pipelines and run.environment_id not in full_environments

    def full(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pipelines and the environments that take no further run."""
        return _full(self.limits.by_pipeline, self.pipelines), _full(self.limits.by_environment, self.environments)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the limits are read, each time anew: they change with the documents."""

    read: Callable[[], QueueLimits]


def _full(limits: Mapping[str, int], taken: Counter[str]) -> frozenset[str]:
    return frozenset(place for place, limit in limits.items() if taken[place] >= limit)
