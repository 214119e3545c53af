"""Answers that stay as they are: not built again for one who has them already, nor for the next who asks."""

import re
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from threading import Lock
from typing import NamedTuple

from fastapi import Request, Response, status
from pydantic import BaseModel

from api_adapter.responses import json_response

Validator = tuple[str | int | float | datetime | None, ...]

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
# A cache may keep the answer, but asks each time whether it still holds: the run may be deleted, the key revoked.
_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Accept"}  # compression adds its own to Vary


MOST_BYTES = 32 * 1024 * 1024


class _Kept(NamedTuple):
    body: bytes
    media_type: str | None


class Answers:
    """Bodies that were asked for lately, by the ETag of their state; the longest unused make room for new ones."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = Lock()

    def get(self, tag: str) -> Response | None:
        """Return the answer of this state; None if it is not kept."""
        with self._lock:
            kept = self._kept.get(tag)
            if kept is None:
                return None
            self._kept.move_to_end(tag)
        return Response(kept.body, media_type=kept.media_type)

    def keep(self, tag: str, response: Response) -> None:
        """Keep an answer, unless it is a stream, a failure, or so large that it would drive out all others."""
        body = getattr(response, "body", None)
        if not isinstance(body, bytes) or response.status_code != status.HTTP_200_OK or len(body) > self._most // 8:
            return
        with self._lock:
            if tag not in self._kept:
                self._kept[tag] = _Kept(body, response.media_type)
                self._bytes += len(body)
            while self._bytes > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped.body)


def answer_cached(
    request: Request, *, validator: Validator | None, build: Callable[[], BaseModel | Response]
) -> Response:
    """Answer 304 where the caller's If-None-Match names this state, else what `build` gives or gave, with its ETag.

    `validator` is all that the body depends on besides the address and this version of the service, known before the
    body is built (what varies with Accept belongs to it); None where the body may still change: it gets no ETag then.
    The body must be the same for all who may see it: the caller has been let in before.
    """
    if validator is None:
        return _response(build())
    tag = _digest(request, validator)
    headers = {**_HEADERS, "ETag": f'W/"{tag}"'}
    if _names(request, tag=tag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    answers: Answers = request.app.state.answers
    response = answers.get(tag)
    if response is None:
        response = _response(build())
        answers.keep(tag, response)
    response.headers.update(headers)
    return response


def _digest(request: Request, validator: Validator) -> str:
    address = (request.app.version, request.scope["path"], request.scope["query_string"])
    return blake2b(repr((address, validator)).encode(), digest_size=12).hexdigest()


def _names(request: Request, *, tag: str) -> bool:
    """Compare weakly, as RFC 9110 (13.1.2) demands for If-None-Match."""
    given = ",".join(request.headers.getlist("if-none-match")).strip()
    return given == "*" or tag in _TAG.findall(given)


def _response(built: BaseModel | Response) -> Response:
    return built if isinstance(built, Response) else json_response(built)
