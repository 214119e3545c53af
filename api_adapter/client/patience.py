"""How long a call is tried again, and how long to wait before each time."""

from collections.abc import Mapping
from dataclasses import dataclass

# Too many requests; and a service, or what it needs, that is away for now: behind a proxy, 502 says so too.
BUSY_STATUSES = frozenset({429, 502, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds: how long a call is tried in all; the first and the longest of the pauses, each double the last.

    `come_back`: the pause after a stream that broke off.
    """

    total: float = 30.0
    first_pause: float = 0.25
    longest_pause: float = 5.0
    come_back: float = 1.0

    def pause(self, attempt: int, *, headers: Mapping[str, str]) -> float:
        """Return how long to wait after the attempt of this number, from 0: as the service says, if it says so."""
        told = headers.get("retry-after", "")
        if told.isdecimal():
            return float(told)
        return min(self.first_pause * 2.0 ** min(attempt, 16), self.longest_pause)
