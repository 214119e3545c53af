"""JSON Web Tokens of the configured issuer: verified, and read as a principal. Source: RFC 7519, RFC 8725, RFC 9068."""

from datetime import UTC, datetime
from typing import Any

import jwt

from api_adapter.auth.errors import UnauthorizedError
from api_adapter.auth.key_sets import KeySet, open_key_set
from api_adapter.auth.principal import Principal
from api_adapter.settings import JwtSettings

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
LEEWAY_SECONDS = 10.0  # between our clock and the issuer's
_LONGEST_SUBJECT = 255

# What a caller is told, which holds nothing of the token itself.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not valid yet."),
    (jwt.InvalidAudienceError, "The token is for another audience."),
    (jwt.InvalidIssuerError, "The token is from another issuer."),
    (jwt.MissingRequiredClaimError, "The token must have the claims exp, sub, iss and aud."),
    (jwt.InvalidSignatureError, "The token is not signed by a key of its issuer."),
)


class TokenVerifier:
    """Tells whose a token is."""

    def __init__(self, settings: JwtSettings, *, keys: KeySet | None = None) -> None:
        self._settings = settings
        self._keys = keys or open_key_set(settings)

    def verify(self, token: str) -> Principal:
        """Return the user that the token names.

        `UnauthorizedError` if it is not a valid token, `UnavailableError` if the issuer's keys can't be fetched.
        """
        algorithm, key_id = _header(token)
        candidates = self._keys.find(key_id, algorithm=algorithm)
        refusal: Exception = jwt.InvalidSignatureError()
        for candidate in candidates:
            try:
                claims = jwt.decode(
                    token,
                    candidate.key,
                    algorithms=[candidate.algorithm],
                    audience=self._settings.audience,
                    issuer=self._settings.issuer,
                    leeway=LEEWAY_SECONDS,
                    options={"require": ["exp", "sub", "iss", "aud"]},
                )
            except jwt.InvalidSignatureError as error:
                refusal = error
            except (jwt.PyJWTError, OverflowError) as error:
                raise _refused(error) from error
            else:
                return _principal(claims)
        raise _refused(refusal) from refusal


def _header(token: str) -> tuple[str, str | None]:
    """Return the algorithm, one of ours, and the id of the key that the token says it is signed with."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise UnauthorizedError from error
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise UnauthorizedError(f"The token must be signed with {', '.join(sorted(ALGORITHMS))}.")
    if "crit" in header:
        raise UnauthorizedError("The token has critical header parameters that are not known here.")
    return algorithm, header.get("kid")


def _refused(error: Exception) -> UnauthorizedError:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return UnauthorizedError(reason)
    return UnauthorizedError()


def _principal(claims: dict[str, Any]) -> Principal:
    subject = claims["sub"]
    if not subject or len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
        raise UnauthorizedError("The token's subject (sub) must be a name of 1 to 255 printable characters.")
    # Null is not absence: a claim that an issuer meant to fill must not open what it was to limit.
    limited = "pipelines" in claims
    return Principal(
        kind="user",
        id=subject,
        name=subject,
        scopes=frozenset(_scopes(claims)),
        pipelines=frozenset(_texts(claims["pipelines"], claim="pipelines")) if limited else None,
        expires_at=_moment(claims["exp"]),
    )


def _scopes(claims: dict[str, Any]) -> list[str]:
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise UnauthorizedError("The token's claim scope must be a text.")
    return [*scope.split(), *_texts(claims.get("scopes", []), claim="scopes")]


def _texts(value: object, *, claim: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UnauthorizedError(f"The token's claim {claim} must be a list of texts.")
    if not all(text.isprintable() for text in value):  # Postgres takes neither NUL nor halves of surrogate pairs
        raise UnauthorizedError(f"The token's claim {claim} must hold printable characters only.")
    return value


def _moment(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return None  # later than any clock can tell
