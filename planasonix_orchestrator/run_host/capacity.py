"""What capacity is taken: how many runs work of each pipeline, in each environment, and by each limit of their own."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from planasonix_orchestrator.graph.queue_limits import QueueLimits
from planasonix_orchestrator.run_host.ledger import QueuedRun

_LIMIT = re.compile(r".* ([1-9][0-9]{0,8})", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """What takes no further run: pipelines, environments, and values of the tag LIMITED_BY."""

    pipelines: frozenset[str]
    environments: frozenset[str]
    own_limits: frozenset[str]


@dataclass(slots=True)
class Taken:
    """How many runs work in each place, and which places are full by these limits and by those that runs carry."""

    limits: QueueLimits
    pipelines: Counter[str | None] = field(default_factory=Counter)
    environments: Counter[str | None] = field(default_factory=Counter)
    own_limits: Counter[str] = field(default_factory=Counter)

    def add(self, run: QueuedRun, *, gives_place: bool = False) -> None:
        """Count a run; one that gives its place in the environment to another counts elsewhere only."""
        self.pipelines[run.pipeline_id] += 1
        self.environments[self._environment(run)] += not gives_place
        if run.limited_by is not None:
            self.own_limits[run.limited_by] += 1

    def has_room(self, run: QueuedRun) -> bool:
        """Tell whether one more run fits into the places of this one."""
        full = self.full()
        return (
            run.pipeline_id not in full.pipelines
            and self._environment(run) not in full.environments
            and run.limited_by not in full.own_limits
        )

    def full(self) -> Full:
        """Return what takes no further run."""
        return Full(
            pipelines=_full(self.limits.by_pipeline, self.pipelines),
            environments=_full(self.limits.by_environment, self.environments),
            own_limits=frozenset(value for value, number in self.own_limits.items() if number >= _most(value)),
        )

    def _environment(self, run: QueuedRun) -> str | None:
        return run.environment_id or self.limits.default_environment


def _full(limits: Mapping[str, int], taken: Counter[str | None]) -> frozenset[str]:
    return frozenset(place for place, limit in limits.items() if taken[place] >= limit)


def _most(limited_by: str) -> float:
    """Return how many runs may work at once by a value of LIMITED_BY; what says no number does not limit."""
    match = _LIMIT.fullmatch(limited_by)
    return int(match[1]) if match else float("inf")
