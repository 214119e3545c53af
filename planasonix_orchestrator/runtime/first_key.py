"""The first key of the Runs API: made when a stack starts for the first time, and kept for those who may read it."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkstemp

from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.runtime.modules import run_module
from planasonix_orchestrator.runtime.parts import API
from planasonix_orchestrator.runtime.state import KEY_FILE

NAME = "first key"
SCOPE = "admin:organization"
SECONDS_TO_MAKE = 60


class FirstKeyError(PlanasonixError):
    """The first key could not be made; the API runs all the same, and lets nobody in."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The first API key was not made: {reason}\nMake one with `planasonix keys create NAME --scope {SCOPE}`."
        )


def make_first_key(state: Path, *, environment: Mapping[str, str]) -> str | None:
    """Return a new key that may do everything, which the state directory keeps from now on; None if it has one.

    `environment` names the database. The key passes through a pipe and a file that only its owner may read, never
    through the arguments of a process. `FirstKeyError` if it can't be made or kept.
    """
    file = state / KEY_FILE
    try:
        if file.exists() and file.stat().st_size:
            return None
        descriptor, begun = mkstemp(dir=state, prefix=f"{KEY_FILE}-")  # for its owner alone
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as kept:
                key = _make(environment)
                kept.write(f"{key}\n")
            # Whole or not at all, and here: an empty file, or a link that leads nowhere, gives way.
            Path(begun).replace(file)
        finally:
            Path(begun).unlink(missing_ok=True)
    except OSError as error:
        raise FirstKeyError(f"it can't be kept in {file}: {error.strerror}.") from error
    return key


def _make(environment: Mapping[str, str]) -> str:
    arguments = ("keys", "create", NAME, "--scope", SCOPE)
    try:
        done = run_module(API, *arguments, environment=environment, seconds=SECONDS_TO_MAKE)
    except subprocess.TimeoutExpired as error:
        raise FirstKeyError(f"it took more than {SECONDS_TO_MAKE} s.") from error
    if done.returncode:
        raise FirstKeyError(done.stderr.strip())
    return done.stdout.strip()
