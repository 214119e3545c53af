"""Headers that every answer carries: its request's id, and what keeps browsers from misusing it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_adapter.middleware.request_ids import HEADER, request_id_of

# Of answers that don't say otherwise. The policy is for what only programs read: a browser shows it and loads nothing.
_DEFAULTS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"private, no-cache"),  # what is answered depends on who asks
)


class AnswerHeadersMiddleware:
    """Adds the headers that an answer lacks, and those that stand in `request.state.answer_headers`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add to the head of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _complete(message, scope=scope)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _complete(message: Message, *, scope: Scope) -> None:
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
    present = {name.lower() for name, _ in headers}
    headers += [header for header in _DEFAULTS if header[0] not in present]
    for name, value in scope["state"].get("answer_headers", {}).items():
        headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    headers.append((HEADER, request_id_of(scope).encode("ascii")))
    message["headers"] = headers
