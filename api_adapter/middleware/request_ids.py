"""Each request has an id: the caller's own, where it is fit to be repeated, else a new one."""

import re
from secrets import token_hex

from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

HEADER = b"x-request-id"
_FIT = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestIdMiddleware:
    """Puts the id into `request.state.request_id` and into every log line that is written for this request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its id."""
        if scope["type"] == "http":
            # Stays bound: the server itself logs an error that ends the request. The next one has a context of its own.
            bind_contextvars(request_id=request_id_of(scope))
        await self._app(scope, receive, send)


def request_id_of(scope: Scope) -> str:
    """Return the request's id, which it is given now if it has none yet."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        state["request_id"] = _given(scope) or token_hex(16)
    request_id: str = state["request_id"]
    return request_id


def _given(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == HEADER and _FIT.fullmatch(value):
            text: str = value.decode("ascii")
            return text
    return None
