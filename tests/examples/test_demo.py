"""The demo as a newcomer runs it."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest


@pytest.mark.stack
def test_the_demo_succeeds_and_leaves_nothing_running(tmp_path: Path) -> None:
    """From nothing, the demo runs its pipelines through the API, finds all results right, and stops the stack."""
    command = [sys.executable, "-m", "examples.run_demo"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "n_flights        succeeded  rowsOut 336,776" in done.stdout
    told = " ".join(done.stdout.split())  # whose lines are as long as the console is wide
    assert "triggerId trg_daily_flights" in told
    assert "triggerId trg_after_daily_flights" in told
    assert "All row counts and results equal those of the hand-written queries." in done.stdout
    assert [process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in _command(process)] == []


def _command(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or ())
