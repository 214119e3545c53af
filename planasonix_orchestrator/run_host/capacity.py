"""What capacity is taken: how many runs work of each pipeline, and in each environment."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from planasonix_orchestrator.graph.queue_limits import QueueLimits
from planasonix_orchestrator.run_host.ledger import QueuedRun


@dataclass(slots=True)
class Taken:
    """How many runs work in each place, and which places are full by these limits."""

    limits: QueueLimits
    pipelines: Counter[str | None] = field(default_factory=Counter)
    environments: Counter[str | None] = field(default_factory=Counter)

    def add(self, run: QueuedRun) -> None:
        """Count a run."""
        self.pipelines[run.pipeline_id] += 1
        self.environments[self._environment(run)] += 1

    def has_room(self, run: QueuedRun) -> bool:
        """Tell whether one more run fits into the places of this one."""
        full_pipelines, full_environments = self.full()
        return run.pipeline_id not in full_pipelines and self._environment(run) not in full_environments

    def full(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pipelines and the environments that take no further run."""
        return _full(self.limits.by_pipeline, self.pipelines), _full(self.limits.by_environment, self.environments)

    def _environment(self, run: QueuedRun) -> str | None:
        return run.environment_id or self.limits.default_environment


def _full(limits: Mapping[str, int], taken: Counter[str | None]) -> frozenset[str]:
    return frozenset(place for place, limit in limits.items() if taken[place] >= limit)
