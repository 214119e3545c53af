"""Validators of answers that stay as they are: a caller that has the answer already is told so without building it."""

import re
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b

from fastapi import Request, Response, status
from pydantic import BaseModel

from api_adapter.responses import json_response

Validator = tuple[str | int | float | datetime | None, ...]

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
# A cache may keep the answer, but asks each time whether it still holds: the run may be deleted, the key revoked.
_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Accept"}  # compression adds its own to Vary


def answer_cached(
    request: Request, *, validator: Validator | None, build: Callable[[], BaseModel | Response]
) -> Response:
    """Answer 304 where the caller's If-None-Match names this state, else what `build` gives, with its ETag.

    `validator` is all that the body depends on besides the address and this version of the service, known before the
    body is built (what varies with Accept belongs to it); None where the body may still change: it gets no ETag then.
    """
    if validator is None:
        return _response(build())
    tag = _digest(request, validator)
    headers = {**_HEADERS, "ETag": f'W/"{tag}"'}
    if _names(request, tag=tag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    response = _response(build())
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
