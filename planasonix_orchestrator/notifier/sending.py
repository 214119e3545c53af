"""One attempt to deliver a message: signed, within a limit of time, and what came of it without a secret in it."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Final

import httpx

from planasonix_orchestrator.notifier.endpoints import Target
from planasonix_orchestrator.notifier.retries import read_retry_after

SECONDS_TO_ANSWER: Final = 10.0
LONGEST_ANSWER: Final = 300  # characters of it that are kept
_BYTES_READ: Final = 4096
_LOOPBACK: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_GONE: Final = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt and its outcome: the status that was answered, or the error for which there was none.

    `answer` is the begin of the answer's body, where it was no success. `retry_after` is what the answer asked for.
    """

    started_at: datetime
    duration_seconds: float
    status: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after: timedelta | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the message was accepted."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the endpoint wants no messages any more."""
        return self.status == _GONE

    @property
    def failure(self) -> str | None:
        """Why it was no success, in a few words."""
        if self.succeeded:
            return None
        if self.status is not None and 300 <= self.status < 400:
            return f"answered {self.status}: redirects are not followed"
        return self.error or f"answered {self.status}"


def open_client() -> httpx.AsyncClient:
    """Return the client for all endpoints. It goes by the proxies of the environment, except to this machine."""
    return httpx.AsyncClient(
        follow_redirects=False,
        timeout=SECONDS_TO_ANSWER,
        mounts=dict.fromkeys(_LOOPBACK),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=2),
        headers={"User-Agent": f"Planasonix/{version('planasonix')}"},
    )


async def send(client: httpx.AsyncClient, target: Target, *, message_id: str, body: str) -> Attempt:
    """Post a message; whatever happens is an attempt with its outcome."""
    started_at, clock = datetime.now(UTC), time.monotonic()
    status: int | None = None
    error = answer = None
    retry_after: timedelta | None = None
    try:
        async with (
            asyncio.timeout(SECONDS_TO_ANSWER),
            client.stream("POST", target.url, content=body.encode(), headers=_headers(target, message_id, body)) as got,
        ):
            status = got.status_code
            retry_after = read_retry_after(got.headers.get("retry-after"), now=datetime.now(UTC))
            answer = await _begin_of(got)  # of a success too, so that the connection can be used again
    except (TimeoutError, httpx.TimeoutException):
        error = f"no answer within {SECONDS_TO_ANSWER:g} s" if status is None else None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failure:
        error = f"{type(failure).__name__}: {failure}" if status is None else None
    return Attempt(
        started_at=started_at,
        duration_seconds=time.monotonic() - clock,
        status=status,
        error=_told(error, secrets=target.secrets),
        answer=None if status is not None and status < 300 else _told(answer, secrets=target.secrets),
        retry_after=retry_after,
    )


def _headers(target: Target, message_id: str, body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        **target.headers,
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signer.sign(message_id, now, body) for signer in target.signers),
    }


async def _begin_of(response: httpx.Response) -> str:
    read = b""
    async for part in response.aiter_raw(_BYTES_READ):
        read += part
        if len(read) >= _BYTES_READ:
            break
    return read[:_BYTES_READ].decode("utf-8", "replace")


def _told(text: str | None, *, secrets: Sequence[str]) -> str | None:
    """Return the begin of a text from outside, as it can be stored and shown: without secrets, on one line."""
    if not text:
        return None
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return "".join(character if character.isprintable() else " " for character in text)[:LONGEST_ANSWER].strip() or None
