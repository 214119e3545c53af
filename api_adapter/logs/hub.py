"""What is new in the log of a run, for all who follow it: one poller per run, however many they are."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from api_adapter.errors import ApiError
from api_adapter.logs.writing import write_event, write_events
from api_adapter.storage import LogFilter, LogPage, LogPosition, RunStatus, Storage
from api_adapter.threads import Threads

logger = logging.getLogger("api_adapter")

LINES_AT_ONCE = 1000
_MOST_WAITING = 16  # batches; who is further behind reads the log itself
_EVERYTHING = LogFilter(level="debug")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often followers and their hubs do what they do; in seconds."""

    poll: float = 0.15
    failure: float = 1.0  # until the next try
    look: float = 1.0  # at whether the stream may go on
    heartbeat: float = 10.0
    settle: float = 0.3  # after a run's end, until all of its log is visible


class Batch:
    """New lines of a run, written once for all who have read just as far."""

    def __init__(self, page: LogPage, *, run_id: str) -> None:
        self._page = page
        self._run_id = run_id
        self._events = write_events(page, run_id=run_id)
        self._passed: dict[LogFilter, bytes] = {}

    @property
    def more(self) -> bool:
        """Whether there are more new lines already."""
        return self._page.more

    def events_for(self, position: LogPosition, *, filter_by: LogFilter) -> bytes:
        """Return the events of what is new, and wanted, for one who has read as far as `position`."""
        if position != self._page.before:
            return self._events_from(position, filter_by=filter_by)
        passed = self._passed.get(filter_by)
        if passed is None:
            told = zip(self._page.lines, self._events, strict=True)
            passed = self._passed[filter_by] = b"".join(event for line, event in told if filter_by.passes(line))
        return passed

    def position_after(self, position: LogPosition) -> LogPosition:
        """Return the position of one who came from `position` and has read this too."""
        return position | self._page.after

    def _events_from(self, position: LogPosition, *, filter_by: LogFilter) -> bytes:
        return b"".join(
            write_event(line, position=position | self._page.position_after(line), run_id=self._run_id)
            for line in self._page.lines
            if line.id not in position and filter_by.passes(line)
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """The run has ended and all has been told; `status` is None if it is no longer there."""

    status: RunStatus | None


class Subscription:
    """What one follower has not taken yet. It holds a few batches; `lost` is set when there were more."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._waiting: deque[Batch | Ended] = deque()
        self._filled = asyncio.Event()
        self.lost = False

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._hub.closed and not self._waiting

    async def ready(self, *, seconds: float) -> bool:
        """Return true once all that becomes visible from now on is going to arrive here; false after a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hub.ready.wait()
        return self._hub.ready.is_set()

    def put(self, news: Batch | Ended) -> None:
        """Leave news for the follower."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.clear()
            self.lost = True
        if not self.lost:
            self._waiting.append(news)
        self._filled.set()

    def wake(self) -> None:
        """Have the follower look around."""
        self._filled.set()

    def restart(self) -> None:
        """Forget what is waiting: the follower is about to read the log itself from where it is."""
        self._waiting.clear()
        self.lost = False

    async def take(self, *, seconds: float) -> Batch | Ended | None:
        """Return the oldest news; None if there is none for a while, or if some was lost."""
        if not self._waiting and not self.lost:
            self._filled.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._filled.wait()
        return self._waiting.popleft() if self._waiting else None


class Hub:
    """Polls the log of one run for its followers, as long as there are any."""

    def __init__(self, run_id: str, *, dagster_id: str, storage: Storage, threads: Threads, pace: Pace) -> None:
        self._pace = pace
        self._run_id = run_id
        self._dagster_id = dagster_id
        self._storage = storage
        self._threads = threads
        self._position = LogPosition()
        self._status: RunStatus | None = None
        self.ready = asyncio.Event()
        self.closed = False
        self._ended = False
        self.subscriptions: set[Subscription] = set()

    async def run(self, *, stopping: Callable[[], bool]) -> None:
        """Poll until there are no followers any more, the run's end has been told or the server stops."""
        try:
            while self.subscriptions and not self._ended and not stopping():
                pause = await self._give_out()
                await asyncio.sleep(pause)
        finally:
            self.closed = True
            self.ready.set()  # followers need not wait: from now on each reads the log itself
            for subscription in self.subscriptions:
                subscription.wake()

    async def _give_out(self) -> float:
        """Give out what is new, and return the seconds until the next look."""
        try:
            news = await self._threads.run(self._poll)
        except ApiError as error:
            logger.warning("the log of run %s can't be followed at the moment: %s", self._run_id, error)
            return self._pace.failure
        self.ready.set()
        if news is None:
            return self._pace.poll
        self._ended = isinstance(news, Ended)
        for subscription in self.subscriptions:
            subscription.put(news)
        return 0 if isinstance(news, Batch) and news.more else self._pace.poll

    def _poll(self) -> Batch | Ended | None:
        """Return what is new: with a single small statement, where nothing is.

        The end of a run is told one poll after it was seen: what its worker wrote last may become visible last.
        """
        if not self.ready.is_set():
            self._position = self._storage.read_log_end(self._dagster_id)
            return None
        state = self._storage.read_log_state(self._dagster_id, missing=self._position.missing)
        if state is None:
            return Ended(None)
        before, self._status = self._status, state.status
        if state.newest > self._position.last or state.filled:
            return self._read()
        return Ended(state.status) if state.finished and before == state.status else None

    def _read(self) -> Batch | None:
        page = self._storage.read_log(
            self._dagster_id, after=self._position, filter_by=_EVERYTHING, limit=LINES_AT_ONCE
        )
        if page is None:
            return None
        self._position = page.after
        return Batch(page, run_id=self._run_id)
