"""The supervisor: keeps every part of the stack running until it is told to stop, then stops them all."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from planasonix_orchestrator.runtime.errors import PartError
from planasonix_orchestrator.runtime.health import UnhealthyError
from planasonix_orchestrator.runtime.leftovers import end_leftovers
from planasonix_orchestrator.runtime.parts import Part

Tell = Callable[[str], None]

LINES_OF_LOG = 15
LARGEST_LOG = 10_000_000  # bytes; a larger one is put aside at the next start


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the supervisor looks and how long it waits; all in seconds."""

    process: float = 0.1  # where the system does not tell at once that a process has ended
    probe_starting: float = 0.1
    probe_running: float = 10.0
    start: float = 180.0
    reach: float = 10.0  # for what is not ours to start
    patience: float = 60.0  # a part that is unwell for longer is started again
    end: float = 5.0
    first_delay: float = 0.5
    longest_delay: float = 30.0  # of a part that does not get well
    longest_delay_once_well: float = 4.0  # runs wait for it, and it is likely to get well again
    steady: float = 60.0  # a part that was well for longer starts again without further delay


class PartKeeper:
    """Keeps one part running: starts it, waits until it is well, watches it, and starts it again when it is lost."""

    def __init__(self, part: Part, *, needs: Sequence["PartKeeper"], tell: Tell, pace: Pace) -> None:
        self.part = part
        self.well = asyncio.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self._needs = needs
        self._tell = tell
        self._pace = pace
        self._started = datetime.now(UTC)

    @property
    def pid(self) -> int | None:
        """The process id of the part; None if it is not a process of ours."""
        return self.process.pid if self.process else None

    async def keep(self) -> None:
        """Run the part for ever; `PartError` if it can't be started, or furnished, for the first time."""
        delay = self._pace.first_delay
        was_well = False
        while True:
            for keeper in self._needs:
                await keeper.well.wait()
            await self._start()
            reason = await self._until_well()
            if reason is None:
                if was_well:
                    self._tell(f"{self.part.name} is back{f' (pid {self.pid})' if self.pid else ''}.")
                else:
                    await asyncio.to_thread(self.part.furnish)
                was_well = True
                since = asyncio.get_running_loop().time()
                self.well.set()
                reason = await self._until_lost()
                self.well.clear()
                if asyncio.get_running_loop().time() - since > self._pace.steady:
                    delay = self._pace.first_delay
                delay = min(delay, self._pace.longest_delay_once_well)
            elif not was_well:
                raise self._error(reason)
            self._tell(f"{self.part.name} {reason}; starting it again in {delay:g} s.")
            await asyncio.to_thread(self._end)
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._pace.longest_delay)

    async def _start(self) -> None:
        self._started = datetime.now(UTC)
        await asyncio.to_thread(self.part.prepare)
        if not self.part.command or self.part.log is None:
            return
        account = self.part.account
        with self.part.log.open("ab") as output:
            # A session of its own: a Ctrl-C in the terminal reaches the supervisor alone, which stops them in order.
            self.process = subprocess.Popen(  # noqa: ASYNC220 - starting takes milliseconds; waiting is asynchronous
                self.part.command,
                env=dict(self.part.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=account.user if account else None,
                group=account.group if account else None,
                extra_groups=[] if account else None,
            )

    async def _until_well(self) -> str | None:
        """Wait until the part is well; return why it is not going to be."""
        patience = self._pace.start if self.part.command else self._pace.reach
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            reason = await self._probe()
            if reason is None:
                return None
            if self._has_ended():
                return self._exit()
            if asyncio.get_running_loop().time() > deadline:
                return f"was not well after {patience:g} s ({reason})"
            await asyncio.sleep(self._pace.probe_starting)

    async def _until_lost(self) -> str:
        """Wait until the part has ended or was unwell for too long; return what it was."""
        unwell, ended = asyncio.create_task(self._until_unwell()), asyncio.create_task(self._until_ended())
        try:
            await asyncio.wait([unwell, ended], return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else unwell.result()
        finally:
            unwell.cancel()
            ended.cancel()

    async def _until_ended(self) -> str:
        """Wait for the end of the process: for ever, if there is none."""
        with _exit_of(self.process) as exited:
            # Where the system does not tell, we look.
            timeout = self._pace.process if self.process and exited is None else None
            while not self._has_ended():
                with suppress(TimeoutError):
                    await asyncio.wait_for((exited or asyncio.Event()).wait(), timeout)
        return self._exit()

    async def _until_unwell(self) -> str:
        clock = asyncio.get_running_loop()
        last_well = clock.time()
        while True:
            await asyncio.sleep(self._pace.probe_running)
            reason = await self._probe()
            if reason is None:
                last_well = clock.time()
            elif clock.time() - last_well > self._pace.patience:
                return f"is unwell ({reason})"

    async def _probe(self) -> str | None:
        try:
            await self.part.probe(self._started)
        except UnhealthyError as error:
            return None if error.elsewhere and self.well.is_set() else str(error)
        return None

    def _end(self) -> None:
        """End the process alone: what it started, such as a run's worker, may finish its work."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=self._pace.end)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def _exit(self) -> str:
        code = self.process.returncode if self.process else 0
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def _error(self, reason: str) -> PartError:
        return PartError(self.part.name, reason=reason, log=self.part.log, tail=last_lines(self.part.log))


class Supervisor:
    """Runs the parts; the first of them must be well before the others start."""

    def __init__(self, parts: Sequence[Part], *, state: Path, tell: Tell, pace: Pace | None = None) -> None:
        pace = pace or Pace()
        first = PartKeeper(parts[0], needs=(), tell=tell, pace=pace)
        self.keepers = (first, *(PartKeeper(part, needs=(first,), tell=tell, pace=pace) for part in parts[1:]))
        self._state = state

    async def well(self) -> None:
        """Return when every part is well."""
        for keeper in self.keepers:
            await keeper.well.wait()

    async def run(self, *beside: Coroutine[object, None, None]) -> None:
        """Start all parts and keep them running, and `beside` them other tasks, until cancelled.

        However it ends, no process of the stack is left. `PartError` if a part can't be started.
        """
        for keeper in self.keepers:
            _put_aside(keeper.part.log)
        try:
            async with asyncio.TaskGroup() as tasks:
                for task in (*(keeper.keep() for keeper in self.keepers), *beside):
                    tasks.create_task(task)
        except* PartError as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._stop()

    async def _stop(self) -> None:
        await asyncio.to_thread(end_leftovers, self._state)
        for keeper in self.keepers:
            if keeper.process is not None:
                keeper.process.wait()


@contextmanager
def _exit_of(process: subprocess.Popen[bytes] | None) -> Iterator[asyncio.Event | None]:
    """Give what is set when the process exits; None where the system does not tell."""
    if process is None or process.returncode is not None or not hasattr(os, "pidfd_open"):
        yield None
        return
    exited = asyncio.Event()
    descriptor = os.pidfd_open(process.pid)
    asyncio.get_running_loop().add_reader(descriptor, exited.set)
    try:
        yield exited
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def last_lines(log: Path | None) -> Sequence[str]:
    """Return the last lines of a log."""
    if log is None or not log.exists():
        return ()
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_OF_LOG:]


def _put_aside(log: Path | None) -> None:
    if log is not None and log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
