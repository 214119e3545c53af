"""The supervisor, over small real processes in place of Dagster's."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from planasonix_orchestrator.runtime.errors import PartError
from planasonix_orchestrator.runtime.health import Probe, UnhealthyError
from planasonix_orchestrator.runtime.leftovers import STACK_VARIABLE
from planasonix_orchestrator.runtime.parts import Part
from planasonix_orchestrator.runtime.supervisor import Pace, Supervisor

pytestmark = pytest.mark.stack

QUICK = Pace(
    process=0.01,
    probe_starting=0.01,
    probe_running=0.02,
    start=10,
    patience=0.1,
    end=2,
    first_delay=0.01,
    longest_delay=0.1,
    longest_delay_once_well=0.05,
)
# Marks in a file that it runs, then does nothing.
SLEEPER = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"

# Does nothing for a moment only, and the second of them does nothing at all.
SHORT = "import sys, time; open(sys.argv[1], 'w').write('x'); time.sleep(0.2)"
SHORT_ONCE = f"import sys; open(sys.argv[1] + '.once', 'x'); {SHORT}"


def file_probe(file: Path) -> Probe:
    """A part is well when its file has come into being since it started."""

    def written_since(started: datetime) -> bool:
        return file.exists() and file.stat().st_mtime >= started.timestamp() - 0.05 and file.stat().st_size > 0

    async def probe(started: datetime) -> None:
        if not written_since(started):
            raise UnhealthyError("no file")

    return probe


def part(name: str, *, state: Path, code: str = SLEEPER, probe: Probe | None = None) -> Part:
    """A part that runs Python code with the path of its file as argument."""
    file = state / f"{name}.pid"
    return Part(
        name=name,
        url="",
        probe=probe or file_probe(file),
        command=(sys.executable, "-c", code, str(file)),
        environment={**os.environ, STACK_VARIABLE: str(state)},
        log=state / f"{name}.log",
    )


async def wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fails after some seconds."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


async def run_while(supervisor: Supervisor, *, scene: Callable[[], "asyncio.Future[None]"]) -> None:
    """Run the stack, play the scene once all parts are well, and stop."""
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.well(), timeout=15)
    try:
        await scene()
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


def test_the_others_wait_for_the_first(tmp_path: Path) -> None:
    """No part starts before the first one is well."""
    first, second = part("first", state=tmp_path), part("second", state=tmp_path)
    supervisor = Supervisor([first, second], state=tmp_path, tell=lambda _: None, pace=QUICK)

    async def scene() -> None:
        assert (tmp_path / "first.pid").stat().st_mtime <= (tmp_path / "second.pid").stat().st_mtime

    asyncio.run(run_while(supervisor, scene=lambda: asyncio.ensure_future(scene())))


def test_a_part_is_furnished_once_before_the_others_start(tmp_path: Path) -> None:
    """Not when it comes back: what it was given then is still there."""
    furnished: list[bool] = []
    first = replace(part("first", state=tmp_path), furnish=lambda: furnished.append((tmp_path / "second.pid").exists()))
    told: list[str] = []
    supervisor = Supervisor([first, part("second", state=tmp_path)], state=tmp_path, tell=told.append, pace=QUICK)

    async def scene() -> None:
        killed = supervisor.keepers[0].pid
        assert killed is not None
        psutil.Process(killed).kill()
        await wait_until(lambda: any("first is back" in line for line in told))

    asyncio.run(run_while(supervisor, scene=lambda: asyncio.ensure_future(scene())))
    assert furnished == [False]


def test_a_part_that_can_not_be_furnished_ends_the_stack(tmp_path: Path) -> None:
    """Its error is told, and no process is left."""

    def fail() -> None:
        raise PartError("first", reason="could not be given its tables", log=None, tail=())

    first = replace(part("first", state=tmp_path), furnish=fail)
    supervisor = Supervisor([first], state=tmp_path, tell=lambda _: None, pace=QUICK)
    with pytest.raises(PartError, match="could not be given its tables"):
        asyncio.run(supervisor.run())
    assert not psutil.pid_exists(int((tmp_path / "first.pid").read_text()))


def test_a_part_that_dies_is_started_again_and_it_is_said(tmp_path: Path) -> None:
    """A killed part comes back as a new process; the console hears of both."""
    told: list[str] = []
    supervisor = Supervisor([part("only", state=tmp_path)], state=tmp_path, tell=told.append, pace=QUICK)

    async def scene() -> None:
        (keeper,) = supervisor.keepers
        killed = keeper.pid
        assert killed is not None
        psutil.Process(killed).kill()
        await wait_until(lambda: len(told) == 2)
        assert told == [
            "only was killed by signal 9; starting it again in 0.01 s.",
            f"only is back (pid {keeper.pid}).",
        ]
        assert keeper.pid != killed

    asyncio.run(run_while(supervisor, scene=lambda: asyncio.ensure_future(scene())))


@pytest.mark.parametrize(
    ("code", "delays"),
    [(SHORT, [0.01, 0.02, 0.04, 0.05, 0.05]), (SHORT_ONCE, [0.01, 0.02, 0.04, 0.08, 0.1, 0.1])],
    ids=["gets well each time", "gets well only once"],
)
def test_a_part_that_dies_again_and_again_waits_longer(tmp_path: Path, code: str, delays: list[float]) -> None:
    """The delay doubles up to its limit, which is lower for a part that gets well: runs wait for it."""
    told: list[str] = []
    supervisor = Supervisor([part("only", state=tmp_path, code=code)], state=tmp_path, tell=told.append, pace=QUICK)

    async def scene() -> None:
        await wait_until(lambda: len(lost()) >= len(delays))
        assert lost()[: len(delays)] == [f"{delay:g} s." for delay in delays]

    def lost() -> list[str]:
        return [line.rsplit(" in ")[-1] for line in told if "again" in line]

    asyncio.run(run_while(supervisor, scene=lambda: asyncio.ensure_future(scene())))


def test_a_part_that_hangs_is_started_again(tmp_path: Path) -> None:
    """A process that lives but does not answer for too long is replaced; blame that lies elsewhere does not count."""
    told: list[str] = []
    answers: dict[str, UnhealthyError | None] = {"now": None}

    async def probe(_started: datetime) -> None:
        if (answer := answers["now"]) is not None:
            raise answer

    hanging = part("only", state=tmp_path, probe=probe)
    supervisor = Supervisor([hanging], state=tmp_path, tell=told.append, pace=QUICK)

    async def scene() -> None:
        answers["now"] = UnhealthyError("Postgres is away", elsewhere=True)
        await asyncio.sleep(QUICK.patience * 3)
        assert told == []
        answers["now"] = UnhealthyError("deaf")
        await wait_until(lambda: told != [])
        answers["now"] = None
        assert told[0] == "only is unwell (deaf); starting it again in 0.01 s."
        await wait_until(lambda: len(told) == 2)

    asyncio.run(run_while(supervisor, scene=lambda: asyncio.ensure_future(scene())))


def test_a_part_that_can_not_start_ends_the_stack_with_its_reason(tmp_path: Path) -> None:
    """The error carries the exit code, the tail of the log and what to do; the other parts are gone."""
    code = "import sys; print('first line'); sys.exit('port 1 is not for you')"
    parts = [part("first", state=tmp_path), part("broken", state=tmp_path, code=code)]
    supervisor = Supervisor(parts, state=tmp_path, tell=lambda _: None, pace=QUICK)
    with pytest.raises(PartError, match=r"(?s)broken did not start: it ended with exit code 1.*port 1 is not for you"):
        asyncio.run(supervisor.run())
    first = int((tmp_path / "first.pid").read_text())
    assert not psutil.pid_exists(first)


def test_stopping_ends_grandchildren_too(tmp_path: Path) -> None:
    """A process that a part has started in a session of its own does not outlive the stack."""
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "open(sys.argv[1], 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    supervisor = Supervisor(
        [part("parent", state=tmp_path, code=code)], state=tmp_path, tell=lambda _: None, pace=QUICK
    )

    async def scene() -> None:
        assert psutil.pid_exists(int((tmp_path / "parent.pid").read_text()))

    asyncio.run(run_while(supervisor, scene=lambda: asyncio.ensure_future(scene())))
    grandchild = int((tmp_path / "parent.pid").read_text())
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
