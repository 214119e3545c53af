"""A short piece of chaos: `make chaos` plays a long one."""

import secrets

import pytest

from tests.chaos.play import play

pytestmark = pytest.mark.stack

FAULTS = (8, 14)  # each costs the machine the start of a part
SECONDS_TO_SETTLE = 120.0  # twice what is promised: other tests take their share of the machine


def test_every_promise_holds_amid_chaos() -> None:
    """Whatever is killed, each run ends truly and in time, wholly or not at all, once, and leaves nothing."""
    seed = secrets.randbelow(1_000_000)
    print(f"replay with: python -m tests.chaos --seconds 1 --seed {seed}")  # noqa: T201
    history = play(seed=seed, seconds=1, seconds_to_settle=SECONDS_TO_SETTLE, faults_in_burst=FAULTS)
    assert history.faults
    assert history.runs
    assert not history.violations, "\n".join([f"seed {seed}", *history.violations, "", *history.timeline])
