"""Public keys that verify tokens: from a JWKS endpoint or a file, kept, and fetched again when that may help."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt import PyJWK, PyJWTError

from api_adapter.errors import UnavailableError
from api_adapter.settings import JWT_KEY_FILE_VARIABLE, InvalidSettingError, JwtSettings

logger = logging.getLogger("api_adapter")

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_SMALLEST_RSA_BITS = 2048
_SECONDS_TO_ANSWER = 3.0
_MOST_BYTES = 1024 * 1024
_PEM = "-----BEGIN "


class KeySetError(Exception):
    """What should be a set of public keys is none."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, its id where it has one, and the one algorithm that it is used with: no token can choose."""

    key_id: str | None
    algorithm: str
    key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Seconds: keys older than `refresh` are fetched again, those older than `oldest` not used any more.

    `pause` lies between two fetches because of unknown keys, `recovery` between two after one that failed.
    """

    refresh: float = 600.0
    oldest: float = 3600.0
    pause: float = 30.0
    recovery: float = 5.0


class KeySet:
    """The keys of a token issuer. Asking for one that is there costs no lock and no call."""

    def __init__(self, fetch: Callable[[], Sequence[VerificationKey]], *, freshness: Freshness | None = None) -> None:
        self._fetch = fetch
        self._freshness = freshness or Freshness()
        self._lock = Lock()
        self._keys: Sequence[VerificationKey] = ()
        self._fetched_at = float("-inf")
        self._due_at = float("-inf")  # before which nothing is fetched again
        self._failed = False

    def find(self, key_id: str | None, *, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that may have signed: with this id or without any, and of this algorithm.

        `UnavailableError` if the keys can't be fetched, so that nobody can tell whether there is one.
        """
        found = self._matching(key_id, algorithm=algorithm)
        if found and self._age() < self._freshness.refresh:
            return found
        serves = bool(found) and self._age() < self._freshness.oldest
        if not self._lock.acquire(timeout=0 if serves else _SECONDS_TO_ANSWER):
            if not serves:  # anybody can send unknown key ids: a server that dawdles must not hold all who do
                raise UnavailableError("The key set of the token issuer")
            return found  # somebody fetches already; the keys that we have still serve
        try:
            if self._is_due(key_id, algorithm=algorithm):
                self._refresh()
            found = self._matching(key_id, algorithm=algorithm)
            if self._age() >= self._freshness.oldest or (self._failed and not found):
                raise UnavailableError("The key set of the token issuer")
            return found
        finally:
            self._lock.release()

    def _is_due(self, key_id: str | None, *, algorithm: str) -> bool:
        """Tell whether to fetch: another thread may have done so while we waited."""
        wanted = self._age() >= self._freshness.refresh or not self._matching(key_id, algorithm=algorithm)
        return wanted and time.monotonic() >= self._due_at

    def _matching(self, key_id: str | None, *, algorithm: str) -> Sequence[VerificationKey]:
        return [
            key
            for key in self._keys
            if key.algorithm == algorithm and (key_id is None or key.key_id is None or key.key_id == key_id)
        ]

    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    def _refresh(self) -> None:
        try:
            self._keys = self._fetch()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, KeySetError) as error:
            logger.warning("the key set of the token issuer can't be read: %s", error)
            self._failed = True
            self._due_at = time.monotonic() + self._freshness.recovery
        else:
            self._failed = False
            self._fetched_at = time.monotonic()
            self._due_at = self._fetched_at + self._freshness.pause


def open_key_set(settings: JwtSettings) -> KeySet:
    """Return the key set that the settings name; `InvalidSettingError` for a file that holds none."""
    if settings.key_file is None:
        url = settings.jwks_url or ""
        return KeySet(lambda: _download(url))
    file = settings.key_file
    try:
        parse_key_set(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeySetError) as error:
        raise InvalidSettingError(
            JWT_KEY_FILE_VARIABLE, str(file), expected=f"public keys, PEM or JWKS: {error}"
        ) from error
    return KeySet(lambda: parse_key_set(file.read_text(encoding="utf-8")))


def _download(url: str) -> Sequence[VerificationKey]:
    """Fetch a JWKS document, within bounds of size and time: the timeouts of the client are for each part alone."""
    began = time.monotonic()
    body = b""
    with httpx.stream("GET", url, timeout=_SECONDS_TO_ANSWER, headers={"Accept": "application/json"}) as answer:
        for part in answer.raise_for_status().iter_bytes():
            body += part
            if len(body) > _MOST_BYTES or time.monotonic() - began > _SECONDS_TO_ANSWER:
                raise KeySetError(f"it has more than {_MOST_BYTES} bytes, or took more than {_SECONDS_TO_ANSWER:g} s")
    return parse_key_set(body.decode())


def parse_key_set(text: str) -> Sequence[VerificationKey]:
    """Return the keys of a JWKS document or of PEM blocks (public keys, certificates) that can verify tokens.

    Keys of other kinds are left out; `KeySetError` if nothing remains.
    """
    keys = tuple(_from_pem(text) if _PEM in text else _from_jwks(text))
    if not keys:
        raise KeySetError("it has no public key for RS256 (2048 bits or more), ES256 or EdDSA")
    return keys


def _from_pem(text: str) -> Iterator[VerificationKey]:
    if "PRIVATE KEY" in text:
        raise KeySetError("it holds a private key, which belongs to the issuer alone")
    for block in text.split(_PEM)[1:]:
        pem = (_PEM + block).encode()
        try:
            key = (
                load_pem_x509_certificate(pem).public_key()
                if block.startswith("CERTIFICATE")
                else load_pem_public_key(pem)
            )
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeySetError(f"it has a PEM block that is no public key ({error})") from error
        yield from _usable(key, key_id=None)


def _from_jwks(text: str) -> Iterator[VerificationKey]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeySetError("it is neither PEM nor JSON") from error
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeySetError("it has no list `keys`")
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = PyJWK(entry)
        except PyJWTError:
            continue  # of a kind that we don't use
        key_id = entry.get("kid")
        for usable in _usable(key.key, key_id=key_id if isinstance(key_id, str) else None):
            if entry.get("alg", usable.algorithm) == usable.algorithm:
                yield usable


def _usable(key: object, *, key_id: str | None) -> Iterable[VerificationKey]:
    match key:
        case RSAPublicKey() if key.key_size >= _SMALLEST_RSA_BITS:
            return [VerificationKey(key_id, "RS256", key)]
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return [VerificationKey(key_id, "ES256", key)]
        case Ed25519PublicKey():
            return [VerificationKey(key_id, "EdDSA", key)]
    return []
