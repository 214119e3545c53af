"""Finds the credential in a request's headers."""

from starlette.requests import Request

from api_adapter.auth.errors import MissingCredentialError, UnauthorizedError

KEY_HEADER = "X-Planasonix-Api-Key"


def read_credential(request: Request) -> str:
    """Return the key or token that a request carries.

    `MissingCredentialError` if it carries none; `UnauthorizedError` if it carries several that differ, since nobody
    can tell whose the request is, or one of another scheme than Bearer.
    """
    given = {_bearer(value) for value in request.headers.getlist("Authorization")}
    given.update(value.strip() for value in request.headers.getlist(KEY_HEADER))
    if not given:
        raise MissingCredentialError
    if len(given) > 1:
        raise UnauthorizedError(f"Send one credential, either as `Authorization: Bearer ...` or in {KEY_HEADER}.")
    return given.pop()


def _bearer(value: str) -> str:
    scheme, _, credential = value.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorizedError("The scheme of `Authorization` must be Bearer.")
    return credential.strip()
