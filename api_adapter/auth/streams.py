"""Streams: counted per credential, and ended when their credential is."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from threading import Lock
from types import TracebackType
from typing import Self

from api_adapter.auth.errors import RateLimitedError
from api_adapter.auth.principal import Principal
from api_adapter.errors import UnavailableError
from api_adapter.records import Keys

logger = logging.getLogger("api_adapter")

# A stream ends within 10 s of its credential: this long until the next look, and as long as a statement may take.
SECONDS_BETWEEN_LOOKS = 3.0
_SECONDS_TO_TRY_AGAIN = 5.0


class StreamLease:
    """The right to keep one stream open; give it back with `release`, or use it as a context manager.

    It is given back in any case when the request ends, whether or not the stream has ever begun.
    """

    def __init__(self, principal: Principal, *, release: Callable[["StreamLease"], None]) -> None:
        self.principal = principal
        self._release = release
        self._ended = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the credential has been revoked or has expired, so that the stream must end."""
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Return as soon as the stream must end, at most 10 s after its credential was revoked or expired."""
        await self._ended.wait()

    def end(self) -> None:
        """Tell the stream that it must end; only from the event loop."""
        self._ended.set()

    def release(self) -> None:
        """Give the right back; again is harmless."""
        self._release(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class Streams:
    """The streams that this process keeps open. One look every few seconds is for all of them."""

    def __init__(self, keys: Keys, *, most: int, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._most = most
        self._clock = clock
        self._lock = Lock()
        self._leases: set[StreamLease] = set()
        self._open: Counter[str] = Counter()

    def open(self, principal: Principal) -> StreamLease:
        """Return the right to one more stream; `RateLimitedError` beyond the budget. From any thread."""
        with self._lock:
            if self._open[principal.budget] >= self._most:
                raise RateLimitedError(
                    f"This credential has {self._most} streams open, as many as it may.", seconds=_SECONDS_TO_TRY_AGAIN
                )
            self._open[principal.budget] += 1
            lease = StreamLease(principal, release=self._close)
            self._leases.add(lease)
        return lease

    async def watch(self) -> None:
        """End streams whose credential has been revoked or has expired, for ever."""
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            with self._lock:
                leases = tuple(self._leases)
            if leases:
                try:
                    await self._look(leases)
                except Exception:  # whatever goes wrong once, all streams would be watched no more
                    logger.exception("whether open streams may go on could not be told")

    async def _look(self, leases: tuple[StreamLease, ...]) -> None:
        now = self._clock()
        prefixes = {lease.principal.key_prefix for lease in leases if lease.principal.key_prefix is not None}
        revoked = await self._revoked(prefixes, at=now)
        for lease in leases:
            end = lease.principal.expires_at
            if lease.principal.key_prefix in revoked or (end is not None and end <= now):
                lease.end()

    async def _revoked(self, prefixes: Collection[str], *, at: datetime) -> Collection[str]:
        if not prefixes:
            return ()
        try:
            return set(prefixes) - await asyncio.to_thread(self._keys.valid_prefixes, prefixes, at=at)
        except UnavailableError as error:
            logger.warning("whether open streams may go on is not known at the moment: %s", error)
            return ()

    def _close(self, lease: StreamLease) -> None:
        with self._lock:
            if lease in self._leases:
                self._leases.remove(lease)
                self._open[lease.principal.budget] -= 1
                self._open += Counter()  # forgets those at zero
