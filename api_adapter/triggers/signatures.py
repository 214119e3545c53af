"""Signatures of webhook calls: HMAC-SHA256 over timestamp and raw body. Source: `shared/API.md`, section 5."""

import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from api_adapter.triggers.errors import SignatureRefusedError

TIMESTAMP_HEADER = "X-Planasonix-Timestamp"
SIGNATURE_HEADER = "X-Planasonix-Signature"
OLDEST_SECONDS = 300
MOST_AHEAD_SECONDS = 60

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_SIGNATURE = re.compile(r"v1=([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the headers of a call say: when it was signed, as it was written, and the signatures, of which one counts.

    There are several while a sender changes from one secret to the next.
    """

    timestamp: str
    signatures: tuple[str, ...] = field(repr=False)

    def check(self, body: bytes, *, secret: str) -> None:
        """Return if one of the signatures is that of the body; which of its characters is wrong takes no time."""
        expected = hmac.new(secret.encode("utf-8", "surrogateescape"), self._message(body), sha256).hexdigest()
        if not any(hmac.compare_digest(expected, one) for one in self.signatures):
            raise SignatureRefusedError(
                "invalid_signature", "The signature is not that of this timestamp and body.", field=SIGNATURE_HEADER
            )

    def digest(self, body: bytes) -> str:
        """Return a hash of what was signed, in hex: the same whichever secret it was signed with."""
        return sha256(self._message(body)).hexdigest()

    def _message(self, body: bytes) -> bytes:
        stamp = self.timestamp.encode()
        return stamp + b"." + body if body else stamp


def read_seal(timestamp: str | None, signature: str | None, *, now: datetime) -> Seal:
    """Return what these headers say; `SignatureRefusedError` if they are malformed, too old, or ahead of our clock."""
    if timestamp is None or not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureRefusedError(
            "invalid_signature", f"{TIMESTAMP_HEADER} must be the time in unix seconds.", field=TIMESTAMP_HEADER
        )
    signatures = tuple(
        match[1] for part in (signature or "").split(",") if (match := _SIGNATURE.fullmatch(part.strip()))
    )
    if not signatures:
        raise SignatureRefusedError(
            "invalid_signature",
            f"{SIGNATURE_HEADER} must be v1= and 64 lower-case hexadecimal digits.",
            field=SIGNATURE_HEADER,
        )
    age = int(now.timestamp()) - int(timestamp)
    if age > OLDEST_SECONDS:
        raise SignatureRefusedError(
            "signature_expired",
            f"signature expired: it was made {age} s ago, and counts for {OLDEST_SECONDS} s.",
            field=TIMESTAMP_HEADER,
        )
    if -age > MOST_AHEAD_SECONDS:
        raise SignatureRefusedError(
            "clock_skew",
            f"clock skew detected: the timestamp is {-age} s ahead, and may be {MOST_AHEAD_SECONDS} s.",
            field=TIMESTAMP_HEADER,
        )
    return Seal(timestamp=timestamp, signatures=signatures)
