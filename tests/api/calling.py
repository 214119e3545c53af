"""Signed calls of webhooks, as a sender makes them: the signature is put together here, not by the code under test."""

import hashlib
import hmac
import json
import time
from typing import Any

import httpx

SECRET = "wörd of honour"


def signature_of(body: bytes, *, timestamp: int | str, secret: str = SECRET) -> str:
    message = b".".join([str(timestamp).encode(), body]) if body else str(timestamp).encode()
    return f"v1={hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()}"


def signed(body: bytes, *, ahead: int = 0, secret: str = SECRET) -> dict[str, str]:
    """The headers of a call that is signed now, or seconds `ahead`."""
    timestamp = int(time.time()) + ahead
    return {
        "X-Planasonix-Timestamp": str(timestamp),
        "X-Planasonix-Signature": signature_of(body, timestamp=timestamp, secret=secret),
    }


def address(trigger_id: str) -> str:
    return f"/api/webhooks/trigger/{trigger_id}"


def call(
    client: httpx.Client, trigger_id: str, body: Any = b"", *, event_id: str | None = None, **headers: str
) -> httpx.Response:
    """Call a webhook without any API key: with bytes, or what becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {**signed(content), **headers, **({"X-Planasonix-Event-Id": event_id} if event_id is not None else {})}
    with httpx.Client(base_url=client.base_url, timeout=30, trust_env=False) as stranger:
        return stranger.post(address(trigger_id), content=content, headers=given)
