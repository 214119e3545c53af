"""Gzip for answers that are large enough to gain by it."""

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

_LEAST_BYTES = 1000
_LEVEL = 1  # a page of runs shrinks to a tenth by it, at a third of the time that level 9 takes


def compression() -> Middleware:
    """Return the compression of answers to callers that accept it.

    Streams are compressed part by part, as they come, and ``text/event-stream`` not at all.
    """
    return Middleware(GZipMiddleware, minimum_size=_LEAST_BYTES, compresslevel=_LEVEL)
