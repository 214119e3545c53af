"""How this process writes its log: one line of JSON for each entry, or colours where somebody watches a terminal."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from api_adapter.legible import legible
from api_adapter.middleware.observation import ACCESS_FIELDS, ACCESS_LOG

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


class _Lines(structlog.stdlib.ProcessorFormatter):
    """Lines for machines. That of a request is written past structlog, in a fifth of the time: others wait for it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an entry."""
        return _request_line(record) or super().format(record)


def _request_line(record: logging.LogRecord) -> str | None:
    """Return what structlog would write of a request, None of anything else, or if it has more than ASCII."""
    if record.name != ACCESS_LOG:
        return None
    told = record.__dict__
    timestamp = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
    entry = {"timestamp": timestamp, "level": "info", "logger": record.name, "event": record.msg}
    entry.update((name, told[name]) for name in ACCESS_FIELDS if name in told)
    try:
        line = orjson.dumps(entry)
    except TypeError:  # half a character, say
        return None
    return line.decode() if line.isascii() else None


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
    formatter = structlog.stdlib.ProcessorFormatter if readable else _Lines
    return formatter(
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
