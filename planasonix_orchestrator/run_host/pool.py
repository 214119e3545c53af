"""The warm workers: processes forked by the zygote that wait for a run; one takes the place of each that is used."""

import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from logging import getLogger

from planasonix_orchestrator.run_host import channel
from planasonix_orchestrator.run_host.processes import ProcessId
from planasonix_orchestrator.run_host.zygote import SINGLE_THREADED

logger = getLogger("planasonix.run_host")

ZYGOTE = "planasonix_orchestrator.run_host.zygote"
_SECONDS_TO_HEAR_OF_END = 0.2
_SECONDS_BEFORE_NEXT_ZYGOTE = 1.0


@dataclass(slots=True)
class Worker:
    """A process of a run. `exit_code` is negative for a signal; None while it lives, or if nobody knows it."""

    process: ProcessId
    orders: socket.socket | None = None  # None for one that was started by a former host
    exit_code: int | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int | None:
        """Return the exit code once the process is gone; None if nobody knows it."""
        await self.process.wait()
        if self.orders is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), _SECONDS_TO_HEAR_OF_END)
            self.orders.close()
        return self.exit_code

    def order(self, *, run_id: str, folder: str) -> None:
        """Have the worker execute a run; `OSError` if it is gone."""
        if self.orders is None:
            raise BrokenPipeError
        channel.send(self.orders, {"runId": run_id, "folder": folder})


class WorkerPool:
    """Keeps `size` workers waiting, and the zygote alive that forks them."""

    def __init__(self, *, size: int, when_warm: Callable[[], None]) -> None:
        self._size = size
        self._when_warm = when_warm
        self._warm: deque[Worker] = deque()
        self._asked: deque[socket.socket] = deque()  # the host's ends of channels, in the order of the requests
        self._workers: dict[int, Worker] = {}
        self._control: socket.socket | None = None

    async def keep(self) -> None:
        """Run the zygote for ever: a new one where it is lost. What it has forked lives on."""
        while True:
            host_end, zygote_end = channel.open_channel()
            with host_end, zygote_end:
                host_end.settimeout(0)
                zygote = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    ZYGOTE,
                    str(zygote_end.fileno()),
                    pass_fds=(zygote_end.fileno(),),
                    env={**os.environ, **SINGLE_THREADED},
                    start_new_session=True,
                )
                zygote_end.close()
                await self._serve(host_end)
                with suppress(ProcessLookupError):
                    zygote.kill()
                await zygote.wait()
            logger.warning("the zygote has ended (%s); starting another", zygote.returncode)
            await asyncio.sleep(_SECONDS_BEFORE_NEXT_ZYGOTE)

    @property
    def has_warm(self) -> bool:
        """Whether a worker waits."""
        return any(worker.process.alive for worker in self._warm)

    def take(self) -> Worker | None:
        """Return a warm worker, which is replaced; None if there is none at the moment."""
        while self._warm:
            worker = self._warm.popleft()
            self.fill()
            if worker.process.alive:
                return worker
        self.fill()
        return None

    async def _serve(self, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(control.fileno(), readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                if not self._receive_all(control):
                    return
        finally:
            loop.remove_reader(control.fileno())
            self._control = None
            while self._asked:
                self._asked.popleft().close()

    def _receive_all(self, control: socket.socket) -> bool:
        while True:
            try:
                message, _ = channel.receive(control)
            except BlockingIOError:
                return True
            if message is None:
                return False
            if "ready" in message:
                self._control = control
                self.fill()
            elif "forked" in message:
                self._add(message["forked"])
            elif "ended" in message:
                self._note_end(message["ended"], code=message["code"])

    def fill(self) -> None:
        """Ask for as many workers as are missing."""
        while self._control is not None and len(self._warm) + len(self._asked) < self._size:
            mine, theirs = channel.open_channel()
            with theirs:
                try:
                    channel.send(self._control, {"fork": True}, descriptors=(theirs.fileno(),))
                except OSError:  # the zygote is gone, or very busy: tried again when it answers
                    mine.close()
                    return
            self._asked.append(mine)

    def _add(self, pid: int) -> None:
        orders = self._asked.popleft()
        process = ProcessId.of(pid)
        if process is None:
            orders.close()
            self.fill()
            return
        worker = Worker(process, orders)
        self._workers[pid] = worker
        self._warm.append(worker)
        self._when_warm()

    def _note_end(self, pid: int, *, code: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            return
        worker.exit_code = code
        worker.ended.set()
        if worker in self._warm:
            self._warm.remove(worker)
            self.fill()
