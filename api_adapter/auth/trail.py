"""The audit trail of requests: an entry is begun before anything is done, and finished with the answer's status."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request

from api_adapter.auth.principal import Principal, Signer
from api_adapter.errors import UnavailableError
from api_adapter.records import AuditEvent, AuditTrail

logger = logging.getLogger("api_adapter")

_LONGEST = 500  # characters of a caller's text


class AuditEntry:
    """What is being done by one request. Put into `detail` what should be known of it, never a secret."""

    def __init__(self, trail: AuditTrail, *, event: AuditEvent) -> None:
        self._trail = trail
        self._event = event
        self._id = trail.begin(event)
        self.detail: dict[str, Any] = {}

    def finish(self, status: int) -> None:
        """Write down how it ended; what is done is done, so that a database that is away does not fail the request."""
        try:
            self._trail.finish(self._id, status=status, detail=self.detail)
        except UnavailableError:
            logger.exception(
                "the end of audit event %d was not written: status %d, %s, %s",
                self._id,
                status,
                self.detail,
                self._event,
            )


class Auditor:
    """Begins entries; `UnavailableError`, and nothing is done, if the database is away."""

    def __init__(self, trail: AuditTrail, *, clock: Callable[[], datetime]) -> None:
        self._trail = trail
        self._clock = clock

    def begin(self, request: Request, *, actor: Principal | Signer, action: str) -> AuditEntry:
        """Write down that the actor is about to do this to what the request's path names."""
        event = AuditEvent(
            at=self._clock(),
            actor_kind=actor.kind,
            actor_id=actor.id,
            actor_name=actor.name,
            action=action,
            resource=_storable("/".join(map(str, request.path_params.values()))) or None,
            client_address=client_address(request),
            request_id=getattr(request.state, "request_id", None),
        )
        return AuditEntry(self._trail, event=event)


def client_address(request: Request) -> str:
    """Return the address that a request comes from, as the server knows it."""
    return request.client.host if request.client else "unknown"


def _storable(text: str) -> str:
    """Return a caller's text as Postgres takes it: without NUL and halves of surrogate pairs, and not too long."""
    return text[:_LONGEST].replace("\0", "�").encode("utf-8", "replace").decode("utf-8")
