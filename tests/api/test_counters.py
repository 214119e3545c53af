"""Budgets are counted in windows of time that last as long as they should."""

import time

import pytest
from limits import parse
from limits.strategies import FixedWindowRateLimiter

from api_adapter.auth.counters import CounterStorage

HOUR = 3600.0


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_clock_that_is_set_makes_no_window_longer(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has spent his budget has it again after the time that he was told, not an hour later, nor at once."""
    steady = [1000.0]
    limiter, rate = FixedWindowRateLimiter(CounterStorage(clock=lambda: steady[-1])), parse("1/minute")
    assert limiter.hit(rate, "key")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + jump)
    steady.append(1059.0)
    assert not limiter.hit(rate, "key")
    assert limiter.get_window_stats(rate, "key").reset_time == pytest.approx(now + jump + 1, abs=0.1)
    steady.append(1061.0)
    assert limiter.hit(rate, "key")
