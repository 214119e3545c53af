"""How a request is turned away at the door."""

from math import ceil

from api_adapter.errors import ApiError, Detail
from api_adapter.records.scopes import Scope

_MISSING = "A credential is needed: send an API key or a token as `Authorization: Bearer ...`."
_WRONG = "The credential is not valid: it is malformed, unknown, expired or revoked."


class UnauthorizedError(ApiError):
    """There is no valid credential. What was sent is never repeated."""

    status = 401
    code = "unauthorized"

    def __init__(self, message: str = _WRONG) -> None:
        super().__init__(message, headers={"WWW-Authenticate": 'Bearer realm="planasonix", error="invalid_token"'})


class MissingCredentialError(UnauthorizedError):
    """Nothing was sent that could be a credential."""

    def __init__(self) -> None:
        super().__init__(_MISSING)
        self.headers["WWW-Authenticate"] = 'Bearer realm="planasonix"'


class ForbiddenError(ApiError):
    """The credential is valid, but not for this."""

    status = 403
    code = "forbidden"

    @classmethod
    def of_scope(cls, scope: Scope) -> "ForbiddenError":
        """Return the error for a credential without a scope."""
        challenge = f'Bearer realm="planasonix", error="insufficient_scope", scope="{scope}"'
        return cls(
            f"This credential lacks the scope {scope}.",
            details=[Detail("scope", f"{scope} is missing")],
            headers={"WWW-Authenticate": challenge},
        )

    @classmethod
    def of_limited(cls) -> "ForbiddenError":
        """Return the error for a credential that is limited to some pipelines, where all of them are told of."""
        return cls("This credential is limited to some pipelines, and the answer tells of all.")


class RateLimitedError(ApiError):
    """A budget is used up for the moment."""

    status = 429
    code = "rate_limited"

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message, headers={"Retry-After": str(max(1, ceil(seconds)))})
