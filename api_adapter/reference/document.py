"""The OpenAPI document: FastAPI's, with what belongs to every operation alike."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from api_adapter.reference.examples import ANSWERS, BODIES, ERRORS

Json = dict[str, Any]

DESCRIPTION = """
Send an API key or a token as `Authorization: Bearer ...`. Every failure has one shape, `ErrorResponse`, in which
`error.code` is for programs. Every answer carries `X-Request-Id`, by which the log of the service can be searched.
"""
TAGS = [
    {
        "name": "runs",
        "description": "Executions of pipelines: lists, details, nodes, statistics; to cancel and to retry them.",
    },
    {"name": "logs", "description": "What a run tells while it goes on: its lines in several formats, its raw output."},
    {"name": "pipelines", "description": "Pipelines that can be run: graphs, plans, and starting a run."},
    {
        "name": "backfills",
        "description": "A pipeline run once for each slice of a range of time: progress, cancel, retry.",
    },
    {
        "name": "schedules",
        "description": "When pipelines start by themselves, and what came of it; to switch, and to run now.",
    },
    {
        "name": "triggers",
        "description": "What starts pipelines by itself: webhooks, arrivals of files, other pipelines.",
    },
    {
        "name": "webhooks",
        "description": "Outbound webhooks: whom we tell of runs, what was sent and how often, and sending it again.",
    },
    {"name": "health", "description": "For supervisors and monitoring; not below `/v1`."},
]

_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")  # the shape of errors that never reaches a caller
_OF_BODIES = {"413": "The body has more than 1 MiB.", "415": "The body is not sent as application/json."}
_DEFAULT = "Every other failure has the same shape."
_REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
_RETRY_AFTER = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
_HEADERS = {
    "RequestId": {
        "description": "The id of this request: the caller's own, or a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "RetryAfter": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer", "minimum": 1}},
}


def describe(app: FastAPI) -> None:
    """Let the application publish the completed document, which is made when it is first asked for."""
    generate = app.openapi

    def complete() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(generate())
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]  # FastAPI's documented way


def _completed(document: Json) -> Json:
    for operation in _operations(document):
        _complete_answers(operation)
        _complete_body(operation)
        _complete_failures(operation)
    components = document["components"]
    components["headers"] = _HEADERS
    for name in _FASTAPIS_OWN:
        components["schemas"].pop(name, None)
    return document


def _operations(document: Json) -> Iterator[Json]:
    for path in document["paths"].values():
        yield from path.values()


def _complete_answers(operation: Json) -> None:
    for status, answer in operation["responses"].items():
        if not status.startswith(("2", "3")):
            continue
        answer["headers"] = {**_REQUEST_ID, **answer.get("headers", {})}
        for content in answer.get("content", {}).values():
            name = operation["operationId"]
            example = ANSWERS.get(f"{name} {status}", ANSWERS.get(name))
            if not content.keys() & {"example", "examples"} and example is not None:
                content["example"] = example


def _complete_body(operation: Json) -> None:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if operation["operationId"] in BODIES:
            content["example"] = BODIES[operation["operationId"]]


def _complete_failures(operation: Json) -> None:
    """Declare what every operation can answer, and that it is JSON whatever the answer would be."""
    answers = operation["responses"]
    answers.pop("422", None)
    words = {"default": _DEFAULT, **(_OF_BODIES if _is_read_by_us(operation) else {})}
    words |= {status: answer["description"] for status, answer in answers.items() if status in ERRORS}
    answers |= {status: _failure(status, words=text) for status, text in words.items()}


def _is_read_by_us(operation: Json) -> bool:
    """Tell whether the usual bounds of bodies hold: a webhook, which is open to all, has its own."""
    return "requestBody" in operation and "security" in operation


def _failure(status: str, *, words: str) -> Json:
    return {
        "description": words,
        "headers": {**_REQUEST_ID, **(_RETRY_AFTER if status in {"429", "503"} else {})},
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}, "example": ERRORS[status]}
        },
    }
