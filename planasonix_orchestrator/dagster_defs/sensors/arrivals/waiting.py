"""Files that have been seen and start no run yet: because they may still grow, or because more may join them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Detection = Literal["first_seen", "size_stable", "mtime_stable"]
MOST_FILES_OF_A_RUN = 1000  # where a trigger does not say it


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file in a version that no run was started for: `modified` in seconds since 1970, `size` in bytes."""

    path: str
    version: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When files are complete, and for how long a batch stays open; see `graph.triggers.ArrivalConfig`."""

    detection: Detection = "first_seen"
    stable_seconds: float = 0
    batch_seconds: float = 0
    batch_files: int | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    arrival: Arrival
    unchanged_since: float
    complete_since: float | None = None


class Waiting:
    """What waits, from look to look. Only memory: after a restart, what waited is seen as if for the first time."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._seen: dict[str, _Seen] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def look(self, arrivals: Iterable[Arrival], *, at: float) -> Sequence[Sequence[Arrival]]:
        """Return the batches that are due at a time (in seconds since 1970), given all arrivals that there are now.

        What was due and arrives once more is due again: it is told to wait no longer by no longer arriving.
        """
        self._seen = {arrival.path: self._look_at(arrival, at=at) for arrival in arrivals}
        complete = sorted(
            (seen.complete_since, path) for path, seen in self._seen.items() if seen.complete_since is not None
        )
        due = self._due(complete, at=at)
        size = self._patience.batch_files or MOST_FILES_OF_A_RUN
        paths = [path for _, path in complete[:due]]
        return [[self._seen[path].arrival for path in paths[first : first + size]] for first in range(0, due, size)]

    def _look_at(self, arrival: Arrival, *, at: float) -> _Seen:
        seen = self._seen.get(arrival.path)
        if seen is None or not self._is_unchanged(seen.arrival, arrival):
            # A file that nobody has written to for long is complete at first sight, unless its clock is ahead of ours.
            by_its_clock = self._patience.detection == "mtime_stable"
            seen = _Seen(arrival, min(arrival.modified, at) if by_its_clock else at)
        else:
            seen = replace(seen, arrival=arrival)
        waits = 0.0 if self._patience.detection == "first_seen" else self._patience.stable_seconds
        if seen.complete_since is None and at - seen.unchanged_since >= waits:
            return replace(seen, complete_since=at)
        return seen

    def _is_unchanged(self, before: Arrival, now: Arrival) -> bool:
        match self._patience.detection:
            case "size_stable":
                return before.size == now.size
            case "mtime_stable":
                return before.modified == now.modified
        return True

    def _due(self, complete: Sequence[tuple[float, str]], *, at: float) -> int:
        """Return how many of the complete files, the longest complete first, are to start runs now."""
        if complete and at - complete[0][0] >= self._patience.batch_seconds:
            return len(complete)
        full = self._patience.batch_files
        return len(complete) // full * full if full else 0
