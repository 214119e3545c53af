"""Answers that are sent while they are being read, in memory that does not grow with them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio import CancelScope
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from api_adapter.auth import StreamLease
from api_adapter.storage import LogPage, LogPosition
from api_adapter.threads import Threads

LINES_AT_ONCE = 1000
SECONDS_TO_END = 2.0  # until a stream whose credential has ended, and that has not, is cut


class CredentialEndedError(Exception):
    """The credential of a stream was revoked: its connection is cut, so that nobody takes it for whole."""


class LiveResponse(StreamingResponse):
    """A streamed answer whose generator is closed with it, however it ends, and which ends with its lease.

    The generator heeds the lease by itself; a caller who takes nothing of what is sent holds it where it can't.
    """

    body_iterator: Any  # an async generator

    def __init__(self, content: AsyncIterator[bytes], *, lease: StreamLease, **options: Any) -> None:
        super().__init__(content, **options)
        self._lease = lease

    async def stream_response(self, send: Send) -> None:
        """Send all that the generator yields; `CredentialEndedError` where it could not end by itself."""
        with CancelScope() as scope:
            cut = asyncio.create_task(self._cut(scope))
            try:
                async with aclosing(self.body_iterator):
                    await super().stream_response(send)
            finally:
                cut.cancel()
        if scope.cancelled_caught:
            raise CredentialEndedError

    async def _cut(self, scope: CancelScope) -> None:
        await self._lease.wait_ended()
        await asyncio.sleep(SECONDS_TO_END)
        scope.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageReader:
    """Reads the pages of a log: `read` the lines behind a position, at most so many, and `write` them as bytes."""

    read: Callable[[LogPosition, int], LogPage]
    write: Callable[[LogPage], bytes]

    def page(self, after: LogPosition, *, most: int | None) -> "WrittenPage":
        """Return the next page; `most` is the number of lines still wanted, None for all."""
        page = self.read(after, LINES_AT_ONCE if most is None else min(most, LINES_AT_ONCE))
        left = None if most is None else most - len(page.lines)
        return WrittenPage(body=self.write(page), after=page.after, more=page.more and left != 0, left=left)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenPage:
    """A page as bytes; `more` pages follow `after` it, until `left` lines were sent."""

    body: bytes
    after: LogPosition
    more: bool
    left: int | None


def stream_log(
    reader: PageReader,
    *,
    after: LogPosition,
    limit: int | None,
    media_type: str,
    threads: Threads,
    open_lease: Callable[[], StreamLease],
) -> Response:
    """Return the lines behind a position as one body; what does not fit into a page is a stream, with a lease."""
    first = reader.page(after, most=limit)
    if not first.more:
        return Response(first.body, media_type=media_type)
    lease = open_lease()
    return LiveResponse(_pages(reader, first=first, threads=threads, lease=lease), lease=lease, media_type=media_type)


async def _pages(
    reader: PageReader, *, first: WrittenPage, threads: Threads, lease: StreamLease
) -> AsyncIterator[bytes]:
    async with lease:
        page = first
        yield page.body
        while page.more:
            if lease.ended:
                raise CredentialEndedError
            page = await threads.run(partial(reader.page, page.after, most=page.left))
            if page.body:
                yield page.body


def stream_chunks(
    chunks: Iterator[bytes], *, first: bytes, media_type: str, threads: Threads, lease: StreamLease
) -> Response:
    """Return what blocking code yields, behind a first part that was taken from it already, as one body."""

    async def parts() -> AsyncIterator[bytes]:
        async with lease:
            yield first
            while (chunk := await threads.run(partial(next, chunks, None))) is not None:
                if lease.ended:
                    raise CredentialEndedError
                if chunk:
                    yield chunk

    return LiveResponse(parts(), lease=lease, media_type=media_type)
