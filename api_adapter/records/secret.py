"""The secret of an API key: ``plnx_live_`` and 32 random bytes in base64url. Only its hash is ever stored."""

import re
import secrets
from hashlib import sha256

MARK = "plnx_live_"
_SECRET = re.compile(rf"{MARK}[A-Za-z0-9_-]{{43}}")
_PREFIX_LENGTH = len(MARK) + 12  # 72 of the 256 bits: no two keys meet in them, and the rest can't be guessed


def make_secret() -> str:
    """Return a new secret."""
    return MARK + secrets.token_urlsafe(32)


def is_secret(text: str) -> bool:
    """Tell whether a text has the form of a secret."""
    return _SECRET.fullmatch(text) is not None


def prefix_of(secret: str) -> str:
    """Return the first characters, by which a key is found and shown."""
    return secret[:_PREFIX_LENGTH]


def hash_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret. It is random, so that nothing slower is needed to keep it safe."""
    return sha256(secret.encode()).digest()
