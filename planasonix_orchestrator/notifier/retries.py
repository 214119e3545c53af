"""When a delivery that has failed is tried again, and when it is given up."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from planasonix_orchestrator.settings import InvalidSettingError

DELAYS_VARIABLE: Final = "PLANASONIX_WEBHOOK_RETRIES"
_HOURS: Final = 3600.0
# Ten attempts in a little over a day, the first of them close to each other.
DEFAULT_DELAYS: Final = (5.0, 30.0, 120.0, 600.0, 1800.0, _HOURS, 4 * _HOURS, 8 * _HOURS, 10 * _HOURS)
LONGEST_WAIT: Final = timedelta(hours=24)  # whatever Retry-After asks for
_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The seconds after each failed attempt; after as many and one more, a delivery is dead."""

    delays: tuple[float, ...] = DEFAULT_DELAYS

    def next_wait(self, tries: int, *, asked: timedelta | None) -> timedelta | None:
        """Return how long to wait after the failure of attempt number `tries`; None if that was the last.

        Not shorter than was `asked` for (up to `LONGEST_WAIT`). Up to a fifth is added by chance, so that what has
        failed together does not come back together.
        """
        if tries > len(self.delays):
            return None
        wait = timedelta(seconds=self.delays[tries - 1] * (1 + _JITTER * random.random()))  # noqa: S311
        return max(wait, min(asked or timedelta(), LONGEST_WAIT))


def load_policy(environment: Mapping[str, str]) -> RetryPolicy:
    """Return the policy that the environment asks for; `InvalidSettingError`."""
    text = environment.get(DELAYS_VARIABLE)
    if not text:
        return RetryPolicy()
    expected = "seconds between attempts with commas between them, as 5,30,120"
    try:
        delays = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InvalidSettingError(DELAYS_VARIABLE, text, expected=expected) from None
    if not all(0 <= delay <= LONGEST_WAIT.total_seconds() for delay in delays):
        raise InvalidSettingError(DELAYS_VARIABLE, text, expected=f"{expected}, each a day at most")
    return RetryPolicy(delays=delays)


def read_retry_after(text: str | None, *, now: datetime) -> timedelta | None:
    """Return how long a Retry-After header (RFC 9110, 10.2.3) asks to wait; None for none, or one that says nothing."""
    if not text:
        return None
    if text.strip().isdecimal():
        return timedelta(seconds=min(int(text), LONGEST_WAIT.total_seconds()))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now, timedelta())
