"""The run host: sees to it that every run of this machine starts soon, and ends truthfully.

It looks at what is (runs in Postgres, processes on this machine) and does what brings both together, again and again:
whenever somebody announces a run, whenever a process ends, and every two seconds. It keeps nothing in mind that it
could not find out again, so that a host that was killed is replaced by the next, which goes on with the same runs.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from logging import getLogger
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from planasonix_orchestrator.contract.metadata import MEMORY_WORDS
from planasonix_orchestrator.graph.queue_limits import FolderLimits, QueueLimits
from planasonix_orchestrator.run_host.capacity import Taken
from planasonix_orchestrator.run_host.database import DatabaseGoneError
from planasonix_orchestrator.run_host.ledger import Ledger, QueuedRun, UnfinishedRun
from planasonix_orchestrator.run_host.pool import Worker, WorkerPool
from planasonix_orchestrator.run_host.run_folders import RunFolder, RunFolders
from planasonix_orchestrator.settings import Settings

logger = getLogger("planasonix.run_host")

ResultT = TypeVar("ResultT")

_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_BETWEEN_LOOKS_AT_REST = 10.0  # what there is to do is announced: this is for what was not
_SHORTEST_PAUSE_SECONDS = 0.05  # in which the kernel ends what was killed, too
_SECONDS_AFTER_TROUBLE = 0.5
_SECONDS_TO_BE_QUEUED = 5.0  # after which a run that was created, but not queued, has lost who would have queued it
_SECONDS_TO_EXIT = 5.0  # that a worker may take whose run has ended
_SECONDS_BETWEEN_MEMORY_LOOKS = 0.5
_MOST_STARTS = 2  # of a run whose worker dies before it has begun


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicy:
    """How the host treats runs: see `RunQueue` and `RunHostLauncher`.

    `max_concurrent_runs` is None where another queue than ours lets runs through, and the host starts just those.
    """

    max_concurrent_runs: int | None
    grace_seconds: float
    memory_limit: int | None
    warm_workers: int


@dataclass(slots=True)
class HostedRun:
    """A run that has a process here, or had one that is gone."""

    folder: RunFolder
    worker: Worker
    gone: bool = False
    asked_at: float | None = None  # monotonic seconds: when the process was asked to stop
    idle_since: float | None = None  # since when its run has ended while the process has not
    over_memory: int = 0  # resident bytes for which it was killed


@dataclass(slots=True)
class _Memory:
    """What the host remembers of runs beyond the moment; losing it costs time only."""

    unqueued_since: dict[str, float] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)
    told_elsewhere: set[str] = field(default_factory=set)


class RunHost:
    """Looks after the runs of one machine until it is cancelled; the runs live on then."""

    def __init__(self, ledger: Ledger, *, settings: Settings, policy: HostPolicy) -> None:
        self._ledger = ledger
        self._settings = settings
        self._policy = policy
        self._limits = FolderLimits(settings.pipelines)
        self._folders = RunFolders(settings.runs)
        self._runs: dict[str, HostedRun] = {}
        self._memory = _Memory()
        self._wake = asyncio.Event()
        self._pool = WorkerPool(size=policy.warm_workers, when_warm=self._wake.set)

    def wake(self) -> None:
        """Have a look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Look after runs for ever."""
        async with asyncio.TaskGroup() as tasks:
            self._adopt(tasks)
            tasks.create_task(self._pool.keep())
            if self._policy.memory_limit is not None:
                tasks.create_task(self._watch_memory(self._policy.memory_limit))
            while True:
                pause = await self._look(tasks)
                try:
                    await asyncio.wait_for(self._wake.wait(), pause)
                except TimeoutError:
                    continue
                finally:
                    self._wake.clear()

    def _adopt(self, tasks: asyncio.TaskGroup) -> None:
        """Take over the runs of a former host: those too whose process is gone."""
        for folder in self._folders:
            process = folder.process
            if process is None:  # the former host died before it had given the run to one
                folder.remove(spill=self._settings.spill)
            else:
                self._host(HostedRun(folder, Worker(process)), tasks=tasks)

    def _host(self, run: HostedRun, *, tasks: asyncio.TaskGroup) -> None:
        self._runs[run.folder.run_id] = run
        tasks.create_task(self._await_end(run))

    async def _await_end(self, run: HostedRun) -> None:
        await run.worker.wait()
        run.gone = True
        self._wake.set()

    async def _look(self, tasks: asyncio.TaskGroup) -> float:
        """Do what there is to do; return after how many seconds to look again."""
        try:
            gone = {run_id for run_id, run in self._runs.items() if run.gone}  # of these, what is read now is the last
            unfinished = await self._ask(self._ledger.unfinished)
            for run_id, run in tuple(self._runs.items()):
                if run_id in gone:
                    await self._settle(run, unfinished.get(run_id))
                elif not run.gone:
                    await self._tend(run, unfinished.get(run_id))
            for fact in unfinished.values():
                if fact.run_id not in self._runs:
                    await self._tend_without_process(fact, tasks=tasks)
            await self._dequeue(tasks=tasks)
            return self._pause(at_rest=not unfinished and not self._runs)
        except (DBAPIError, DatabaseGoneError) as error:
            logger.warning("Postgres is away: %s", type(error).__name__)
            return _SECONDS_AFTER_TROUBLE
        except Exception:  # of one run, or one look: the others must be seen to all the same
            logger.exception("something is wrong; trying again")
            return _SECONDS_AFTER_TROUBLE

    def _pause(self, *, at_rest: bool) -> float:
        if at_rest:
            return _SECONDS_BETWEEN_LOOKS_AT_REST
        if any(run.gone for run in self._runs.values()):
            return _SHORTEST_PAUSE_SECONDS
        asked = [run.asked_at for run in self._runs.values() if run.asked_at is not None]
        soonest = min(asked, default=float("inf")) + self._policy.grace_seconds - time.monotonic()
        return min(max(soonest, _SHORTEST_PAUSE_SECONDS), _SECONDS_BETWEEN_LOOKS)

    async def _tend(self, run: HostedRun, fact: UnfinishedRun | None) -> None:
        if fact is None:
            self._expire(run)
        elif fact.canceling:
            await self._stop(run, fact)

    async def _settle(self, run: HostedRun, fact: UnfinishedRun | None) -> None:
        """Bring a run to its end whose process is gone."""
        run.worker.process.kill_group()
        if run.worker.process.group():
            return  # killed, but not gone
        run_id = run.folder.run_id
        if fact is not None and fact.canceling:
            await self._ask(self._ledger.canceled, run_id)
        elif fact is not None and fact.status == "STARTING" and self._memory.starts[run_id] < _MOST_STARTS:
            logger.warning("the worker of run %s ended before it began; starting another", run_id)
        elif fact is not None:
            await self._ask(self._fail, run)
        del self._runs[run_id]
        if fact is None or fact.status != "STARTING":
            self._memory.starts.pop(run_id, None)
        await asyncio.to_thread(run.folder.remove, spill=self._settings.spill)
        self._wake.set()

    def _fail(self, run: HostedRun) -> None:
        code = run.worker.exit_code
        if run.over_memory:
            limit = self._policy.memory_limit or 0
            had, may_have = (f"{size / 1e6:,.0f} MB" for size in (run.over_memory, limit))
            message = f"The run's processes had {had} {MEMORY_WORDS} ({may_have}), and were killed."
            self._ledger.failed(run.folder.run_id, message=message, lost=False)
            return
        how = "is gone" if code is None else f"was killed by {_signal(-code)}" if code < 0 else f"ended with {code}"
        message = f"The run worker (pid {run.worker.process.pid}) {how} before the run had ended."
        self._ledger.failed(run.folder.run_id, message=message)

    def _expire(self, run: HostedRun) -> None:
        """End a process that works on although its run has ended, such as one that somebody else has ended."""
        now = time.monotonic()
        if run.idle_since is None:
            run.idle_since = now
        elif now - run.idle_since > _SECONDS_TO_EXIT:
            run.worker.process.kill_group()

    async def _stop(self, run: HostedRun, fact: UnfinishedRun) -> None:
        """Stop a run's process: by asking first, after the grace period for certain."""
        now = time.monotonic()
        if run.asked_at is None:
            if fact.status != "CANCELING":
                await self._ask(self._ledger.canceling, fact.run_id)
            run.worker.process.ask_to_stop()
            run.asked_at = now
        elif now - run.asked_at >= self._policy.grace_seconds:
            run.worker.process.kill_group()

    async def _tend_without_process(self, fact: UnfinishedRun, *, tasks: asyncio.TaskGroup) -> None:
        if fact.elsewhere:
            if fact.canceling:
                await self._stop_elsewhere(fact.run_id)
        elif fact.canceling:
            await self._ask(self._ledger.canceling, fact.run_id)
            await self._ask(self._ledger.canceled, fact.run_id)
        elif fact.status == "NOT_STARTED":
            await self._enqueue(fact.run_id)
        elif fact.status == "STARTING":
            await self._start(fact.run_id, tasks=tasks)

    async def _stop_elsewhere(self, run_id: str) -> None:
        told = self._memory.told_elsewhere
        if run_id not in told and await self._ask(self._ledger.terminate_elsewhere, run_id):
            told.add(run_id)

    async def _enqueue(self, run_id: str) -> None:
        since = self._memory.unqueued_since.setdefault(run_id, time.monotonic())
        if time.monotonic() - since > _SECONDS_TO_BE_QUEUED:
            del self._memory.unqueued_since[run_id]
            await self._ask(self._ledger.enqueue, run_id)

    async def _dequeue(self, *, tasks: asyncio.TaskGroup) -> None:
        """Start queued runs as far as there is capacity.

        A run whose node waits for another one gives its place to that: else both could wait for ever. To no other, or
        all that wait in the queue would come to wait in memory.
        """
        most = self._policy.max_concurrent_runs or 0
        if not most:
            return
        limits = await asyncio.to_thread(self._limits.read)
        if not await self._fill(limits, places=most - len(self._runs), awaited_by=None, tasks=tasks):
            return
        waiting = {run.run_id for run in await self._ask(self._ledger.in_flight, list(self._runs)) if run.waits}
        if waiting:
            await self._fill(limits, places=most - len(self._runs) + len(waiting), awaited_by=waiting, tasks=tasks)

    async def _fill(
        self, limits: QueueLimits, *, places: int, awaited_by: Set[str] | None, tasks: asyncio.TaskGroup
    ) -> bool:
        """Start queued runs, at most so many; False if that must go on as soon as there is a warm worker.

        With `awaited_by` only those for which nodes of these runs wait.
        """
        if places <= 0:
            return True
        taken = Taken(limits)
        for each in await self._ask(self._ledger.in_flight, list(self._runs)):
            taken.add(each, gives_place=awaited_by is not None and each.waits)
        while places > 0:
            full = taken.full()
            candidates = await asyncio.to_thread(
                self._ledger.queued,
                full_pipelines=full.pipelines,
                full_environments=full.environments,
                full_limits=full.own_limits,
                default_environment=limits.default_environment,
                limit=places,
                awaited_by=awaited_by,
            )
            if not candidates:
                return True
            for run in candidates:
                if not taken.has_room(run):
                    continue  # by one of these candidates: the next question leaves its place out
                if not self._pool.has_warm:
                    self._pool.fill()
                    return False  # the pool wakes us when it has one
                taken.add(run)
                places -= 1
                await self._launch(run, tasks=tasks)
        return True

    async def _launch(self, run: QueuedRun, *, tasks: asyncio.TaskGroup) -> None:
        if await self._ask(self._ledger.starting, run.run_id):
            await self._start(run.run_id, tasks=tasks)

    async def _start(self, run_id: str, *, tasks: asyncio.TaskGroup) -> None:
        """Give a run to a warm worker; later, if there is none."""
        worker = self._pool.take()
        if worker is None:
            return
        folder = self._folders.of(run_id)
        await asyncio.to_thread(folder.assign, worker.process)
        self._memory.starts[run_id] += 1
        try:
            worker.order(run_id=run_id, folder=str(folder.path))
        except OSError:
            logger.warning("a warm worker is gone; another gets run %s", run_id)
        self._host(HostedRun(folder, worker), tasks=tasks)

    async def _watch_memory(self, limit: int) -> None:
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_MEMORY_LOOKS)
            for run in tuple(self._runs.values()):
                if not run.gone and (memory := await asyncio.to_thread(run.worker.process.memory)) > limit:
                    run.over_memory = memory
                    run.worker.process.kill_group()

    async def _ask(self, question: Callable[..., ResultT], *arguments: object) -> ResultT:
        return await asyncio.to_thread(question, *arguments)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
