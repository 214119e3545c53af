"""Dagster's daemon does not wait for a time of day that somebody has put off."""

import subprocess
import sys
import time

import pytest
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from planasonix_orchestrator.runtime.set_clock import Setbacks, has_looked_ahead

pytestmark = pytest.mark.stack

HOUR = 3600.0


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_clock_that_is_set_is_noticed_once(jump: float) -> None:
    """However much time has passed besides."""
    wall, steady = [0.0], [0.0]
    setbacks = Setbacks(wall=lambda: wall[-1], steady=lambda: steady[-1])
    wall.append(100.0)
    steady.append(100.0)
    assert setbacks.seconds() == 0
    wall.append(110.0 + jump)
    steady.append(110.0)
    assert setbacks.seconds() == -jump
    assert setbacks.seconds() == 0


def _looked(at: float | None) -> InstigatorState:
    origin = InProcessCodeLocationOrigin(LoadableTargetOrigin())
    return InstigatorState(
        RemoteInstigatorOrigin(RemoteRepositoryOrigin(origin, "pipelines"), "sensor"),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING,
        SensorInstigatorData(last_tick_start_timestamp=at),
    )


def test_a_sensor_that_has_looked_an_hour_from_now_is_due() -> None:
    """The clock was set back since."""
    assert has_looked_ahead(_looked(time.time() + HOUR))
    assert not has_looked_ahead(_looked(time.time() - 1))
    assert not has_looked_ahead(_looked(None))


def test_the_daemon_ends_when_its_clock_is_set_back() -> None:
    """As when it is told to: what it has begun is brought to an end."""
    program = (
        "import signal, sys, time\n"
        "from planasonix_orchestrator.runtime import set_clock\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))\n"
        "real = time.time\n"
        "set_clock.Setbacks.__init__.__kwdefaults__['wall'] = lambda: real() - ahead\n"
        "ahead = 0\n"
        "set_clock.end_when_set_back()\n"
        "ahead = 3600\n"
        "time.sleep(600)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 42
