"""What one request holds, and what must be closed when it is over: its audit entry and its streams."""

from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_adapter.auth.guard import AUDIT_ENTRY, guard_of
from api_adapter.auth.principal import Principal
from api_adapter.auth.streams import StreamLease
from api_adapter.auth.trail import AuditEntry

_LEASES = "stream_leases"


def annotate(request: Request, **detail: Any) -> None:
    """Add to what the audit trail says of this request, as JSON: ``annotate(request, runId=...)``; never a secret."""
    entry: AuditEntry | None = request.scope["state"].get(AUDIT_ENTRY)
    if entry is not None:
        entry.detail.update(detail)


def open_stream(request: Request, principal: Principal) -> StreamLease:
    """Count one more stream of this credential; 429 beyond the budget of `streams_per_key`.

    Call it before the answer begins, so that a refusal can be an answer; from plain functions too. Use::

        lease = open_stream(request, principal)

        async def lines() -> AsyncIterator[bytes]:
            async with lease:
                while not lease.ended: ...
    """
    lease = guard_of(request).streams.open(principal)
    request.scope["state"].setdefault(_LEASES, []).append(lease)
    return lease


class ClosingMiddleware:
    """Finishes the audit entry of a request when its answer begins, and gives its streams back when that has ended.

    It belongs outside of whatever turns failures into answers, so that it sees the status that the caller sees.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        state: dict[str, Any] = scope.setdefault("state", {})

        async def finish_and_send(message: Message) -> None:
            if AUDIT_ENTRY in state and message["type"] == "http.response.start":
                entry: AuditEntry = state.pop(AUDIT_ENTRY)
                await run_in_threadpool(entry.finish, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, finish_and_send)
        finally:
            leases: list[StreamLease] = state.pop(_LEASES, [])
            for lease in leases:
                lease.release()
