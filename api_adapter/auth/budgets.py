"""How often each credential may ask, and how often each client may fail to show one. Counted in each process."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil

from limits import parse
from limits.strategies import FixedWindowRateLimiter

from api_adapter.auth.counters import CounterStorage
from api_adapter.auth.errors import RateLimitedError
from api_adapter.settings import ApiSettings

_REQUESTS, _FAILURES = "requests", "failures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What is left of a budget after a request: `reset_at` is when it is full again, in unix seconds."""

    limit: int
    remaining: int
    reset_at: float
    exceeded: bool

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that tell a caller so."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(ceil(self.reset_at)),
        }

    def check(self) -> None:
        """Raise `RateLimitedError` if the request was one too many."""
        if self.exceeded:
            raise RateLimitedError(
                f"This credential may send {self.limit} requests in this time, and has.",
                seconds=self.reset_at - time.time(),
            )


class Budgets:
    """The counts of one process."""

    def __init__(self, settings: ApiSettings) -> None:
        self._limiter = FixedWindowRateLimiter(CounterStorage())
        self._rate = parse(settings.rate_limit)
        self._failure_rate = parse(settings.failed_login_limit)

    def spend(self, budget: str) -> Balance:
        """Count a request of the credential of this name."""
        within = self._limiter.hit(self._rate, _REQUESTS, budget)
        reset_at, remaining = self._limiter.get_window_stats(self._rate, _REQUESTS, budget)
        return Balance(limit=self._rate.amount, remaining=remaining, reset_at=reset_at, exceeded=not within)

    def count_failure(self, address: str) -> None:
        """Count a wrong credential from this address; `RateLimitedError` beyond the limit."""
        client = client_of(address)
        if not self._limiter.hit(self._failure_rate, _FAILURES, client):
            reset_at, _ = self._limiter.get_window_stats(self._failure_rate, _FAILURES, client)
            raise RateLimitedError(
                "Too many wrong credentials came from this address. A valid one is accepted at any time.",
                seconds=reset_at - time.time(),
            )


def client_of(address: str) -> str:
    """Return what one client can't change at will: of an IPv6 address only the network."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:  # as IPv4 clients are seen on a socket for both; all of one network else
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))
