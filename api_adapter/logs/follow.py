"""Follows the log of a run as server-sent events: history first, then each line as it comes, then the end."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

import orjson

from api_adapter.auth import StreamLease
from api_adapter.errors import ApiError
from api_adapter.exception_handlers import write_error
from api_adapter.logs.hub import LINES_AT_ONCE, Ended, Hub, Pace, Subscription
from api_adapter.logs.stopping import server_is_stopping
from api_adapter.logs.writing import write_events, write_last_event
from api_adapter.storage import LogFilter, LogPage, LogPosition, RunStatus, Storage
from api_adapter.threads import Threads

_OPENING = b"retry: 2000\n\n"
_HEARTBEAT = b": heartbeat\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What a request follows: a run's log from a position on. `settled` once all of it is known to be visible."""

    run_id: str
    dagster_id: str
    start: LogPosition
    filter_by: LogFilter
    settled: bool
    request_id: str


class Followers:
    """All who follow runs in this process, and the hubs that poll for them."""

    def __init__(
        self,
        storage: Storage,
        *,
        threads: Threads,
        stopping: Callable[[], bool] = server_is_stopping,
        pace: Pace = Pace(),  # noqa: B008  (immutable)
    ) -> None:
        self._pace = pace
        self._storage = storage
        self._threads = threads
        self._stopping = stopping
        self._hubs: dict[str, Hub] = {}
        self._polling: set[asyncio.Task[None]] = set()

    async def follow(self, followed: Followed, *, lease: StreamLease) -> AsyncGenerator[bytes, None]:
        """Yield the events of a run's log until its end, the end of the lease, or that of the server."""
        async with lease:
            yield _OPENING
            with self._subscribed(followed) as subscription:
                follower = _Follower(
                    followed,
                    storage=self._storage,
                    threads=self._threads,
                    subscription=subscription,
                    pace=self._pace,
                )
                spoke = monotonic()
                while not follower.ended and not self._stopping():
                    if lease.ended:
                        yield _revoked(followed)
                        return
                    events = await follower.next_events()
                    if not events and monotonic() - spoke >= self._pace.heartbeat:
                        events = _HEARTBEAT
                    if events:
                        yield events
                        spoke = monotonic()

    async def close(self) -> None:
        """Stop polling."""
        for task in self._polling:
            task.cancel()
        await asyncio.gather(*self._polling, return_exceptions=True)

    @contextmanager
    def _subscribed(self, followed: Followed) -> Iterator[Subscription | None]:
        if followed.settled:  # whose log is all history
            yield None
            return
        hub = self._hubs.get(followed.dagster_id)
        if hub is None or hub.closed:
            hub = self._hubs[followed.dagster_id] = self._open_hub(followed)
        subscription = Subscription(hub)
        hub.subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            hub.subscriptions.discard(subscription)

    def _open_hub(self, followed: Followed) -> Hub:
        hub = Hub(
            followed.run_id,
            dagster_id=followed.dagster_id,
            storage=self._storage,
            threads=self._threads,
            pace=self._pace,
        )
        task = asyncio.create_task(hub.run(stopping=self._stopping))
        self._polling.add(task)
        task.add_done_callback(lambda done: self._forget(hub, followed.dagster_id, task=done))
        return hub

    def _forget(self, hub: Hub, dagster_id: str, *, task: asyncio.Task[None]) -> None:
        self._polling.discard(task)
        if self._hubs.get(dagster_id) is hub:
            del self._hubs[dagster_id]


def _revoked(followed: Followed) -> bytes:
    error = write_error(
        code="unauthorized",
        message="The credential is no longer valid.",
        details=(),
        request_id=followed.request_id,
    )
    return write_last_event("revoked", error)


class _Follower:
    """Where one follower is: it reads the log itself until it has caught up, then takes what its hub gives out.

    It subscribes before it reads. So what becomes visible after its last page arrives from the hub; and what both have
    is told apart by position.
    """

    def __init__(
        self,
        followed: Followed,
        *,
        storage: Storage,
        threads: Threads,
        subscription: Subscription | None,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._followed = followed
        self._storage = storage
        self._threads = threads
        self._subscription = subscription
        self._position = followed.start
        self._settled = followed.settled
        self._pause = 0.0
        self._catching_up = True
        self.ended = False

    async def next_events(self) -> bytes:
        """Return what comes next; nothing after a while in which nothing came."""
        if self._subscription is None or self._catching_up:
            return await self._catch_up(self._subscription)
        return await self._take(self._subscription)

    async def _catch_up(self, subscription: Subscription | None) -> bytes:
        if subscription is not None and not await subscription.ready(seconds=self._pace.look):
            return b""
        await asyncio.sleep(self._pause)
        try:
            page, events = await self._threads.run(self._read)
        except ApiError:  # Postgres is away: it is waited for
            self._pause = self._pace.failure
            return b""
        if page is None:
            return self._end(None)
        self._position = page.after
        self._pause = 0.0
        self._catching_up = page.more
        return events + self._end_of_history(page) if page.complete else events

    def _end_of_history(self, page: LogPage) -> bytes:
        """End, unless the run has ended so lately that its last lines may not be visible yet: then look again."""
        if self._settled:
            return self._end(page.status)
        self._settled = self._catching_up = True
        self._pause = self._pace.settle
        return b""

    async def _take(self, subscription: Subscription) -> bytes:
        news = await subscription.take(seconds=self._pace.look)
        if news is None:
            if subscription.lost or subscription.closed:
                subscription.restart()
                self._catching_up = True
            return b""
        if isinstance(news, Ended):
            return self._end(news.status)
        events = news.events_for(self._position, filter_by=self._followed.filter_by)
        self._position = news.position_after(self._position)
        return events

    def _read(self) -> tuple[LogPage | None, bytes]:
        page = self._storage.read_log(
            self._followed.dagster_id, after=self._position, filter_by=self._followed.filter_by, limit=LINES_AT_ONCE
        )
        if page is None:
            return None, b""
        return page, b"".join(write_events(page, run_id=self._followed.run_id))

    def _end(self, status: RunStatus | None) -> bytes:
        self.ended = True
        return write_last_event("end", orjson.dumps({"status": status}))
