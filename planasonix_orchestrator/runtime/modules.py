"""Modules that do a piece of work in a process of their own, for a supervisor that does not load what they need."""

import subprocess
import sys
from collections.abc import Mapping


def run_module(
    module: str, *arguments: str, environment: Mapping[str, str], seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Run a module to its end, and return its exit code and what it has put out; `subprocess.TimeoutExpired`."""
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
