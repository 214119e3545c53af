"""Turns what is raised inside into an answer, and cuts the connection where an answer has already begun."""

from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

AnswerFailure = Callable[[Request, Exception], Response]


class FailuresMiddleware:
    """Answers every exception with what `answer` makes of it."""

    def __init__(self, app: ASGIApp, *, answer: AnswerFailure) -> None:
        self._app = app
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer it if that fails."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            return
        except Exception as error:
            if started:  # the server logs it and cuts the connection: that, a caller can't take for a whole answer
                raise
            await self._answer(Request(scope), error)(scope, receive, send)
