"""Answers: the JSON of a model; the failures that routes declare in the OpenAPI document, in the one error shape."""

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from api_adapter.exception_handlers import ErrorResponse

Responses = dict[int | str, dict[str, Any]]

_WORDS: Mapping[int, str] = {
    400: "The request is not valid; `details` say where.",
    401: "The credential is missing, malformed, unknown, expired or revoked.",
    403: "The credential is valid but lacks the scope.",
    404: "There is no such thing, or this credential may not see it.",
    406: "The answer has no shape that the caller accepts.",
    409: "The state of the thing does not allow it; `details` say why.",
    413: "The body is too large.",
    415: "The body is not sent as `application/json`.",
    429: "The budget of this credential is used up; try again after `Retry-After`.",
    503: "A part of the service is away; try again after `Retry-After`.",
    504: "The database took too long to answer.",
}
ALWAYS = (400, 401, 403, 429, 503)  # what every route below /api can answer


def declare(*statuses: int, **words: str) -> Responses:
    """Return the declaration of these failures; `words` (as ``s409="..."``) say more than the usual sentence."""
    return {
        status: {"model": ErrorResponse, "description": words.get(f"s{status}", _WORDS[status])} for status in statuses
    }


DEFAULT: Responses = {"default": {"model": ErrorResponse, "description": "Every other failure has the same shape."}}


def json_response(model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the model as the body, as FastAPI would write it; the route declares it as its `response_model`."""
    body = model.__pydantic_serializer__.to_json(model, by_alias=True)
    return Response(body, status_code=status, headers=headers, media_type="application/json")
