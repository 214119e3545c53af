"""HEAD: what GET would answer, without its body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _Answered(Exception):  # noqa: N818  (ends the work on an answer whose head has gone out)
    pass


class HeadMiddleware:
    """Lets every route that answers GET answer HEAD too, with the same headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, a HEAD as a GET, whose answer ends with its head."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                await send({"type": "http.response.body", "body": b""})
                raise _Answered
            await send(message)

        as_get = {**scope, "method": "GET"}  # the server must still see HEAD, by which it knows that no body comes
        try:
            await self._app(as_get, receive, send_head)
        except* _Answered:
            pass
        finally:
            if "route" in as_get:
                scope["route"] = as_get["route"]
