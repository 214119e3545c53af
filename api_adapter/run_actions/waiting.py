"""Waits for the ends of runs, for all requests together: without a thread for any of them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import monotonic

from fastapi import Request

from api_adapter.auth import StreamLease
from api_adapter.dependencies import Services
from api_adapter.errors import ApiError
from api_adapter.logs.stopping import server_is_stopping
from api_adapter.storage import FINISHED, Storage
from api_adapter.threads import Threads

logger = logging.getLogger("api_adapter")

_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_AFTER_TROUBLE = 1.0
_SECONDS_BETWEEN_CHECKS = 1.0  # of whether anybody still waits


class Endings:
    """Looks at the record for all who wait, as long as anybody does."""

    def __init__(self, storage: Storage, *, stopping: Callable[[], bool] = server_is_stopping) -> None:
        self._storage = storage
        self._stopping = stopping
        self._threads = Threads(1, name="endings")
        self._awaited: dict[str, set[asyncio.Event]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, dagster_id: str, *, seconds: float, request: Request, lease: StreamLease) -> bool:
        """Return whether the run has ended, or is gone, before the time is over, the caller leaves or the server stops.

        The lease counts the request among the streams of its credential.
        """
        ended = asyncio.Event()
        self._awaited.setdefault(dagster_id, set()).add(ended)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            async with lease:
                until = monotonic() + seconds
                while not ended.is_set() and (left := until - monotonic()) > 0:
                    if self._stopping() or lease.ended or await request.is_disconnected():
                        return False
                    with suppress(TimeoutError):
                        async with asyncio.timeout(min(left, _SECONDS_BETWEEN_CHECKS)):
                            await ended.wait()
        finally:
            self._forget(dagster_id, ended)
        return ended.is_set()

    async def close(self) -> None:
        """Stop looking."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        self._threads.close()

    async def _look(self) -> None:
        while self._awaited:
            asked = tuple(self._awaited)
            try:
                statuses = await self._threads.run(partial(self._storage.read_statuses, asked))
            except ApiError as error:
                logger.warning("whether runs have ended that somebody waits for is not known: %s", error)
                await asyncio.sleep(_SECONDS_AFTER_TROUBLE)
                continue
            for dagster_id in asked:
                if statuses.get(dagster_id) in {None, *FINISHED}:
                    for ended in self._awaited.get(dagster_id, ()):
                        ended.set()
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    def _forget(self, dagster_id: str, ended: asyncio.Event) -> None:
        waiting = self._awaited[dagster_id]
        waiting.discard(ended)
        if not waiting:
            del self._awaited[dagster_id]


@asynccontextmanager
async def open_endings(services: Services) -> AsyncIterator[Endings]:
    """Give what the requests of an application wait with."""
    endings = Endings(services.storage)
    try:
        yield endings
    finally:
        await endings.close()
