"""Sees each request and its answer pass: for the access log and for the metrics."""

import logging
from asyncio import get_running_loop
from functools import partial
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_adapter.middleware.request_ids import request_id_of
from api_adapter.middleware.routes import template_of
from api_adapter.middleware.telemetry import Telemetry

ACCESS_LOG = "api_adapter.access"
# What an entry has, in this order.
ACCESS_FIELDS = (
    "method",
    "route",
    "path",
    "status",
    "duration_ms",
    "bytes",
    "client",
    "request_id",
    "credential",
    "cut",
)
logger = logging.getLogger(ACCESS_LOG)


class ObservationMiddleware:
    """Counts each answer when it begins, each stream while it is open, and logs both when they have ended."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and look at its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, telemetry=self._telemetry)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            answer.end()
            route = template_of(scope)
            if answer.status:
                self._telemetry.observe(scope["method"], route, answer.status, seconds=answer.seconds_to_begin)
            if logger.isEnabledFor(logging.INFO):
                line = _line(scope, answer, route=route)
                # An answer leaves when the loop has done what was ready: the line is written behind it.
                get_running_loop().call_soon(partial(logger.info, "request", extra=line))


class _Answer:
    """What has been sent of an answer; `status` is 0 until it begins."""

    def __init__(self, send: Send, *, telemetry: Telemetry) -> None:
        self._send = send
        self._telemetry = telemetry
        self._streaming = False
        self._began = perf_counter()
        self.status = 0
        self.bytes = 0
        self.seconds_to_begin = 0.0
        self.complete = False

    @property
    def seconds(self) -> float:
        return perf_counter() - self._began

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.seconds_to_begin = self.seconds
        elif message["type"] == "http.response.body":
            self.bytes += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if not (self.complete or self._streaming):
                self._streaming = True
                self._telemetry.stream_began()
        await self._send(message)

    def end(self) -> None:
        if self._streaming:
            self._telemetry.stream_ended()


def _line(scope: Scope, answer: _Answer, *, route: str | None) -> dict[str, object]:
    """Return what the access log may know: no query and no headers, in which secrets could stand."""
    client = scope.get("client")
    line: dict[str, object] = {
        "method": scope["method"],
        "route": route,
        "path": scope["path"],
        "status": answer.status or None,
        "duration_ms": round(answer.seconds * 1000, 3),
        "bytes": answer.bytes,
        "client": client[0] if client else None,
        "request_id": request_id_of(scope),
        "credential": scope["state"].get("credential_id"),
    }
    if not answer.complete:
        line["cut"] = True  # the caller went away, or the answer failed after it had begun
    return line
