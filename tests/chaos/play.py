"""The play: bursts of faults amid runs, and after each a quiet time in which everything must come right."""

import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psycopg2

from tests.chaos.callers import Callers
from tests.chaos.clock import STACK_COMMAND, Clock
from tests.chaos.faults import Saboteur
from tests.chaos.history import History
from tests.chaos.pipelines import BY_ID, SETUP, write_pipelines
from tests.chaos.truth import Truth
from tests.run_host.hosted import PLUGIN
from tests.runtime.stack import PLANASONIX, Stack, wait_until

SECONDS_TO_SETTLE = 60.0
_SECONDS_TO_BE_WELL = 90.0
_FAULTS_IN_BURST = (20, 36)
_SECONDS_BETWEEN_FAULTS = (0.05, 1.0)
_LONGEST_BURST = 40.0
_GRACE_SECONDS = 3
_MEMORY_MEGABYTES = 900
_SECONDS_OF_FRESH_RUN = 20.0
_SECONDS_OF_TRIAL = 60
_DULL = re.compile(r' - (DEBUG|INFO) - |nanobind|leaked|"status": (20\d|503|409)')


@contextmanager
def chaotic_stack(*, clock: Clock | None = None) -> Iterator[Stack]:
    """The whole stack over a folder of its own, with limits that runs meet soon; under `clock`, if one is given."""
    with tempfile.TemporaryDirectory(prefix="planasonix-chaos-", ignore_cleanup_errors=True) as folder:
        write_pipelines(Path(folder) / "pipelines", clock_is_set=clock is not None)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PLUGIN), os.environ.get("PYTHONPATH")])),
            "PLANASONIX_RATE_LIMIT": "1000000/minute",
            "PLANASONIX_MEMORY_LIMIT": "100MB",
            "PLANASONIX_THREADS": "1",
            **(clock.environment if clock else {}),
        }
        environment.pop("PLANASONIX_POSTGRES_URL", None)
        stack = Stack(Path(folder), environment=environment, planasonix=STACK_COMMAND if clock else (PLANASONIX,))
        try:
            yield stack
        finally:
            stack.end()


def play(
    *,
    seed: int,
    seconds: float,
    seconds_to_settle: float = SECONDS_TO_SETTLE,
    faults_in_burst: tuple[int, int] = _FAULTS_IN_BURST,
    clock: Clock | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> History:
    """Play bursts until so many seconds are over, at least one; return all that has happened.

    `clock`: one to put the stack under, and to set; without it, the clock is left alone.
    """
    history = History()
    chance = random.Random(seed)  # noqa: S311
    with chaotic_stack(clock=clock) as stack:
        saboteur = Saboteur(stack, chance, clock=clock)
        _set_up(stack, saboteur)
        if clock is not None:
            _check_clock(saboteur, clock)
        truth = Truth(stack, saboteur, history)
        with Callers(stack, history, seed=seed) as callers:
            began = time.monotonic()
            number = 0
            while number == 0 or time.monotonic() - began < seconds:
                number += 1
                callers.resume()
                _burst(saboteur, history, faults=chance.randint(*faults_in_burst), chance=chance)
                callers.pause()
                if not _settle(stack, history, seconds=seconds_to_settle):
                    break
                truth.check()
                _start_fresh_run(stack, history)
                say(
                    f"burst {number}: {sum(history.faults.values())} faults, {len(history.runs)} runs,"
                    f" settled after {history.settled_after[-1]:.1f} s, {len(history.violations)} violations"
                )
            if saboteur.set_right():
                _start_fresh_run(stack, history)
                truth.check()
        if history.violations:
            history.timeline += ["", *_logs(stack)]
    return history


def _set_up(stack: Stack, saboteur: Saboteur) -> None:
    with closing(psycopg2.connect(saboteur.postgres_url())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in SETUP:
                cursor.execute(statement)
    config = stack.state / "dagster" / "dagster.yaml"
    told = config.read_text()
    told = told.replace("grace_seconds: 10", f"grace_seconds: {_GRACE_SECONDS}")
    told = told.replace("memory_limit_megabytes: null", f"memory_limit_megabytes: {_MEMORY_MEGABYTES}")
    config.write_text(told)
    host = saboteur.part("host")
    assert host is not None
    host.terminate()  # the next one reads this
    wait_until(lambda: saboteur.part("host") not in (host, None), what=stack.told)
    stack.run_once()  # by that one


def _check_clock(saboteur: Saboteur, clock: Clock) -> None:
    """See that the database, which is the farthest from us, has the clock that is set."""
    clock.set(_SECONDS_OF_TRIAL)
    with closing(psycopg2.connect(saboteur.postgres_url())) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        row = cursor.fetchone()
        assert row is not None
        assert abs(row[0] - time.time() - _SECONDS_OF_TRIAL) < _SECONDS_OF_TRIAL / 2, "Postgres has another clock"
    clock.set(0)


def _burst(saboteur: Saboteur, history: History, *, faults: int, chance: random.Random) -> None:
    missing, began = faults, time.monotonic()
    while missing and time.monotonic() - began < _LONGEST_BURST:
        time.sleep(chance.uniform(*_SECONDS_BETWEEN_FAULTS))
        fault = saboteur.choose()
        met = saboteur.commit(fault)
        if met:
            missing -= 1
            history.faults[fault] += 1
            history.tell(f"{fault}: {met}")
    saboteur.make_up()


def _settle(stack: Stack, history: History, *, seconds: float) -> bool:
    """Wait until every run has ended, and note how long that took; whether the API can be reached again."""
    quiet_since = time.monotonic()
    while history.open_runs() and time.monotonic() - quiet_since < seconds:
        time.sleep(0.05)
    for run in history.open_runs():
        history.violate(
            f"{run.pipeline.name} {run.run_id or run.tag} is {run.status} {seconds:g} s after the last fault"
        )
    history.settled_after.append(time.monotonic() - quiet_since)
    while time.monotonic() - quiet_since < seconds + _SECONDS_TO_BE_WELL:
        if not history.open_runs() and stack.api("/readyz") is not None:
            return True
        time.sleep(0.2)
    history.violate("the stack does not recover")
    return False


def _start_fresh_run(stack: Stack, history: History) -> None:
    """Start a run: with nothing in flight, a slot must be free for it at once."""
    began = time.monotonic()
    url = f"{stack.parts['api']['url']}/api/pipelines/{BY_ID['pl_quick'].id}/run?wait={_SECONDS_OF_FRESH_RUN:g}"
    body = {"variables": {"tag": f"fresh-{began}"}}
    answer = httpx.post(url, json=body, headers=stack.headers, timeout=2 * _SECONDS_OF_FRESH_RUN)
    if answer.status_code != httpx.codes.OK or answer.json()["status"] != "succeeded":
        history.violate(
            f"a fresh run was answered {answer.status_code} after {time.monotonic() - began:.1f} s: {answer.text[:300]}"
        )


def _logs(stack: Stack) -> list[str]:
    lines = ["--- console", *stack.told().splitlines()[-40:]]
    for name in ("run-host", "api"):
        log = stack.state / "logs" / f"{name}.log"
        told = [line for line in log.read_text(errors="replace").splitlines() if not _DULL.search(line)]
        lines += [f"--- {name}", *(line[:600] for line in told[-80:])]
    return lines
