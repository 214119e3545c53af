"""Bounds of a request's body: how large it may be, and how long it may take to arrive."""

from collections.abc import Mapping
from types import MappingProxyType

from anyio import CancelScope, current_time
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1024 * 1024
SECONDS_TO_ARRIVE = 30.0
_HAS_BODY = {b"content-length", b"transfer-encoding"}
# What is left of the body is not read, so nothing else can follow on this connection.
_LAST_ANSWER = {"Connection": "close"}


class BodyMiddleware:
    """Refuses a body that says it is too large, and stops reading one that turns out to be, or that dawdles.

    `larger` names beginnings of paths whose bodies may be larger than others, and how large.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        most: int = MOST_BYTES,
        larger: Mapping[str, int] = MappingProxyType({}),
        seconds: float = SECONDS_TO_ARRIVE,
    ) -> None:
        self._app = app
        self._most = most
        self._larger = larger
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a body that keeps to the bounds; 413 or 408 if it does not."""
        lengths = [value for name, value in scope["headers"] if name in _HAS_BODY] if scope["type"] == "http" else ()
        if not lengths:
            await self._app(scope, receive, send)
            return
        most = self._most_of(scope)
        if any(value.isdigit() and int(value) > most for value in lengths):
            raise _too_large(most)
        await self._app(scope, _Body(receive, most=most, seconds=self._seconds).receive, send)

    def _most_of(self, scope: Scope) -> int:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return next((most for begin, most in self._larger.items() if path.startswith(begin)), self._most)


class _Body:
    """A body while it is read. Its errors are `HTTPException`, the one kind that FastAPI lets through from here."""

    def __init__(self, receive: Receive, *, most: int, seconds: float) -> None:
        self._receive = receive
        self._most = most
        self._seconds = seconds
        self._deadline = current_time() + seconds
        self._read = 0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # from now on, a message means that the caller has gone: no bound on that
            return await self._receive()
        message: Message | None = None
        with CancelScope(deadline=self._deadline):
            message = await self._receive()
        if message is None:
            raise HTTPException(408, f"The body did not arrive within {self._seconds:g} s.", headers=_LAST_ANSWER)
        self._complete = not message.get("more_body", False)
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            raise _too_large(self._most)
        return message


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {most} bytes.", headers=_LAST_ANSWER)
