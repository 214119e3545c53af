"""How this process writes its log: one line of JSON for each entry, or colours where somebody watches a terminal."""

import json
import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from api_adapter.legible import legible

# Libraries speak up when something is wrong; these, about what they do as well.
_TALKATIVE = ("api_adapter", "dagster", "uvicorn")
_SILENCED = ("uvicorn.access",)  # which would write each request's query; our own line does not
_ENCODER = json.JSONEncoder(default=repr)


def configure_logging(stream: TextIO | None = None) -> None:
    """Write what every library of this process logs to `stream` (standard error by default), in one format."""
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(_formatter(readable=target.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # Several have handlers of their own, as uvicorn gives itself before it loads the application.
    for name in (*logging.root.manager.loggerDict, *_TALKATIVE):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.INFO)
    for name in _SILENCED:
        logging.getLogger(name).propagate = False
    logging.captureWarnings(capture=True)


def _formatter(*, readable: bool) -> logging.Formatter:
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_colours,
    ]
    # Stacks as Python prints them: richer ones would show the values of variables.
    rendering: list[Processor] = [structlog.processors.format_exc_info, _for_machines]
    if readable:
        rendering = [_for_people, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )


def _without_colours(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001  (a processor)
    event.pop("color_message", None)  # in which uvicorn says the same again
    return event


def _for_people(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001  (a processor)
    """Let no caller's text obey the terminal or begin a line, where it could pass for another entry."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = "\n    ".join(map(legible, value.split("\n")))
    return event


def _for_machines(logger: WrappedLogger, method: str, event: EventDict) -> str:  # noqa: ARG001  (a processor)
    entry = {
        "timestamp": event.pop("timestamp"),
        "level": event.pop("level"),
        "logger": event.pop("logger"),
        "event": event.pop("event"),
        **event,
    }
    return _ENCODER.encode(entry)
