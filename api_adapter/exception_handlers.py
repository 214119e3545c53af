"""Writes every failure, whichever layer it comes from, in the one error shape of the API."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from api_adapter.errors import ApiError, Detail

logger = logging.getLogger("api_adapter")

_CODES = {401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "payload_too_large"}


class ErrorDetail(BaseModel):
    """One thing that is wrong."""

    field: str
    issue: str


class ErrorBody(BaseModel):
    """What failed: `code` for programs, `message` for people, `details` per field."""

    code: str
    message: str
    details: list[ErrorDetail]


class ErrorResponse(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


def add_exception_handlers(app: FastAPI) -> None:
    """Translate every exception that can leave a handler."""
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_bug)


def error_response(
    status: int,
    *,
    code: str,
    message: str,
    details: Sequence[Detail] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an answer in the API's error shape."""
    body = ErrorBody(
        code=code,
        message=message,
        details=[ErrorDetail(field=detail.field, issue=detail.issue) for detail in details],
    )
    return JSONResponse(ErrorResponse(error=body).model_dump(), status_code=status, headers=dict(headers or {}))


def _on_api_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001  (Starlette's signature)
    assert isinstance(error, ApiError)  # noqa: S101  (registered for this class only)
    return error_response(
        error.status, code=error.code, message=error.message, details=error.details, headers=error.headers
    )


def _on_validation_error(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    assert isinstance(error, RequestValidationError)  # noqa: S101
    details = [Detail(_place(problem), _issue(problem)) for problem in error.errors()]
    message = "; ".join(f"{detail.field}: {detail.issue}" for detail in details)
    return error_response(400, code="invalid_request", message=message, details=details)


def _place(problem: Mapping[str, Any]) -> str:
    """Name the field as the caller wrote it: without the part of the request, unless that is all there is."""
    location = problem["loc"]
    if problem["type"] == "json_invalid":  # whose location is an offset
        return str(location[0])
    return ".".join(str(part) for part in location[1:]) or str(location[0])


def _issue(problem: Mapping[str, object]) -> str:
    return "is not valid JSON" if problem["type"] == "json_invalid" else str(problem["msg"])


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    message = error.detail
    if error.status_code == 404:
        message = f"There is nothing at {request.url.path}. See /docs for the routes."
    elif error.status_code == 405:
        message = f"{request.method} is not possible at {request.url.path}."
    code = _CODES.get(error.status_code, "invalid_request" if error.status_code < 500 else "internal_error")
    return error_response(error.status_code, code=code, message=message, headers=error.headers)


def _on_bug(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(
        500, code="internal_error", message="The service failed to answer this request; its log says why."
    )
