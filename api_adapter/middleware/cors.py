"""Cross-origin requests: refused by browsers, unless the settings name the origins that may send them."""

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from api_adapter.errors import InvalidRequestError

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "X-Planasonix-Api-Key",
    "X-Request-Id",
)
_ANSWER_HEADERS = (
    "ETag",
    "Location",
    "Retry-After",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
)


def cors(origins: tuple[str, ...]) -> list[Middleware]:
    """Return what lets pages of these origins call the API; nothing where there are none."""
    if not origins:
        return []
    return [
        Middleware(
            _CORSMiddleware,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_ANSWER_HEADERS,
        )
    ]


class _CORSMiddleware(CORSMiddleware):
    """Starlette's, with refusals as errors of the API."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a browser that asks whether it may send a request."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        told = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        message = bytes(response.body).decode()
        raise InvalidRequestError(f"{message}. PLANASONIX_CORS_ORIGINS says which origins are allowed.", headers=told)
