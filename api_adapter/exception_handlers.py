"""Writes every failure, whichever layer it comes from, in the one error shape of the API."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from api_adapter.errors import ApiError, Detail, InvalidRequestError
from api_adapter.middleware.request_ids import request_id_of
from api_adapter.middleware.routes import methods_at

logger = logging.getLogger("api_adapter")

CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "payload_too_large",
    415: "unsupported_media_type",
    431: "headers_too_large",
    500: "internal_error",
}
_BUG = "The service failed to answer this request; its log says why, under this request id."
_NOT_JSON = "is not valid JSON"
_MOST_DETAILS = 50  # a body of one megabyte can be wrong in very many places
_MOST_TOLD = 5
_LONGEST = 200  # of the caller's own words in ours


class ErrorDetail(BaseModel):
    """One thing that is wrong: the `field` it stands in and the `issue`."""

    field: str
    issue: str


class ErrorBody(BaseModel):
    """What failed: `code` for programs, `message` for people, `details` per field, `requestId` for the log."""

    code: str
    message: str
    details: list[ErrorDetail]
    request_id: str = Field(serialization_alias="requestId", description="Also in the header X-Request-Id.")


class ErrorResponse(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


def add_exception_handlers(app: FastAPI) -> None:
    """Translate every exception that can leave a handler, so that none is answered in FastAPI's own shape."""
    for kind in (ApiError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _handle)
    app.add_exception_handler(Exception, _handle_last)


async def _handle(request: Request, error: Exception) -> Response:
    return answer_failure(request, error)


async def _handle_last(request: Request, error: Exception) -> Response:  # noqa: ARG001  (Starlette's signature)
    """Answer what was raised outside all of our middleware; it goes on to the server, which logs it."""
    return error_response(request, 500, code=CODES[500], message=_BUG)


def answer_failure(request: Request, error: Exception) -> Response:
    """Return the answer to a request that has ended in this exception."""
    match error:
        case ApiError():
            return _of_api_error(request, error)
        case RequestValidationError():
            return _of_validation(request, error)
        case HTTPException():
            return _of_http_exception(request, error)
        case _:
            logger.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
            return error_response(request, 500, code=CODES[500], message=_BUG)


def error_response(
    request: Request,
    status: int,
    *,
    code: str,
    message: str,
    details: Sequence[Detail] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer in the API's error shape."""
    body = write_error(code=code, message=message, details=details, request_id=request_id_of(request.scope))
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def write_error(*, code: str, message: str, details: Sequence[Detail], request_id: str) -> bytes:
    """Return the body of a failure."""
    body = ErrorBody(
        code=code,
        message=_encodable(message),
        details=[ErrorDetail(field=_encodable(detail.field), issue=_encodable(detail.issue)) for detail in details],
        request_id=request_id,
    )
    return ErrorResponse(error=body).model_dump_json(by_alias=True).encode()


def _encodable(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON may name alone, and which are no text."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _of_api_error(request: Request, error: ApiError) -> Response:
    if error.status >= 500:
        logger.warning("%s", error.message, extra={"cause": str(error.__cause__ or error.__context__ or "")})
    return error_response(
        request, error.status, code=error.code, message=error.message, details=error.details, headers=error.headers
    )


def _of_validation(request: Request, error: RequestValidationError) -> Response:
    if isinstance(error.body, bytes):  # which FastAPI leaves alone unless the caller says that it is JSON
        given = request.headers.get("content-type", "none")[:_LONGEST]
        message = f"The body must be JSON, sent with Content-Type: application/json; the content type given is {given}."
        return error_response(request, 415, code=CODES[415], message=message)
    problems = error.errors()
    details = [Detail(_place(problem), _issue(problem)) for problem in problems[:_MOST_DETAILS]]
    told = [f"{detail.field}: {detail.issue}" for detail in details[:_MOST_TOLD]]
    if len(problems) > len(told):
        told.append(f"and {len(problems) - len(told)} more")
    return error_response(request, 400, code="invalid_request", message="; ".join(told), details=details)


def _place(problem: Mapping[str, Any]) -> str:
    """Name the field as the caller wrote it: without the part of the request, unless that is all there is."""
    location = problem["loc"]
    if problem["type"] == "json_invalid":  # whose location is an offset
        return str(location[0])
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def _issue(problem: Mapping[str, object]) -> str:
    return _NOT_JSON if problem["type"] == "json_invalid" else str(problem["msg"])


def _of_http_exception(request: Request, error: HTTPException) -> Response:
    """Tell more than the name of the status, which is all that routing says."""
    status, headers = error.status_code, dict(error.headers or {})
    if status == 400 and isinstance(error.__cause__, ValueError | RecursionError):  # raised while FastAPI read the body
        return _of_api_error(request, InvalidRequestError.of_field("body", _NOT_JSON))
    message = error.detail
    path = request.scope["path"][:_LONGEST]
    if message == HTTPStatus(status).phrase:
        if status == 404:
            message = f"There is nothing at {path}. {_hint(path)}"
        elif status == 405:
            headers["Allow"] = ", ".join(methods_at(request.scope))  # Starlette names those of one route only
            message = f"{request.method} is not possible at {path}, only {headers['Allow']}."
    code = CODES.get(status, "invalid_request" if status < 500 else CODES[500])
    return error_response(request, status, code=code, message=message, headers=headers)


def _hint(path: str) -> str:
    without = path.rstrip("/")
    return f"Try it without the slash at its end: {without}" if path.endswith("/") and without else "See /docs."
