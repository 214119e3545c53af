"""Processes are known for certain, whatever happens to the clock and to their parents."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from planasonix_orchestrator.run_host.processes import ProcessId


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group of its own."""
    command = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command, start_new_session=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_clock_that_is_set_changes_nothing(
    process: subprocess.Popen[bytes], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the clock jumps, the kernel tells another moment at which the machine has started, as far as that counts."""
    known = ProcessId.of(process.pid)
    assert known is not None
    told = psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: told + seconds)
    assert abs(psutil.Process(process.pid).create_time() - told) > 1.0
    assert ProcessId.of(process.pid) == known
    assert known.alive
    assert [each.pid for each in known.group()] == [process.pid]
    known.kill_group()
    process.wait()
    assert not known.alive


def test_a_process_that_has_got_the_pid_of_another_is_not_taken_for_it(process: subprocess.Popen[bytes]) -> None:
    """A pid alone is not enough: the process of that pid which started at another moment is none of ours."""
    known = ProcessId.of(process.pid)
    assert known is not None
    earlier, later = replace(known, started=known.started - 10), replace(known, started=known.started + 10)
    assert not earlier.alive
    assert not later.alive
    assert later.group() == []
    later.kill_group()
    assert process.poll() is None
