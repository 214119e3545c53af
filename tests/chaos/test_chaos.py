"""A short piece of chaos: `make chaos` plays a long one."""

import secrets

import pytest

from tests.chaos.play import play

pytestmark = pytest.mark.stack


def test_every_promise_holds_amid_chaos() -> None:
    """Whatever is killed, each run ends truly and in time, wholly or not at all, once, and leaves nothing."""
    seed = secrets.randbelow(1_000_000)
    print(f"replay with: python -m tests.chaos --seconds 1 --seed {seed}")  # noqa: T201
    history = play(seed=seed, seconds=1, bursts=1)
    assert history.faults
    assert any(run.status == "succeeded" for run in history.all_runs())
    assert not history.violations, "\n".join([f"seed {seed}", *history.violations, "", *history.timeline])
