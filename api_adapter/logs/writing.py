"""Lines of a log as bytes on the wire: JSON, NDJSON, text and server-sent events."""

from collections.abc import Iterable, Iterator

import msgspec

from api_adapter.logs.cursor import encode_log_cursor
from api_adapter.storage import LogLine, LogPage, LogPosition
from api_adapter.timestamps import format_unix

_INDENT = "\n    "
_encode = msgspec.json.Encoder().encode


class _Line(msgspec.Struct, rename="camel", gc=False):
    """A line as JSON has it."""

    ts: str
    level: str
    node_id: str | None
    message: str


def write_json(page: LogPage, *, run_id: str) -> bytes:
    """Return a page in the seed's shape."""
    cursor = None if page.complete else encode_log_cursor(page.after, run_id=run_id)
    return _encode({"runId": run_id, "lines": [_told(line) for line in page.lines], "nextCursor": cursor})


def write_ndjson(page: LogPage, *, run_id: str) -> bytes:
    """Return a page as one JSON object per line, each with the cursor from which the rest follows."""
    told = ((_encode(_told(line)), cursor) for line, cursor in _with_cursors(page, run_id=run_id))
    return b"".join(b'%b,"cursor":"%b"}\n' % (fields[:-1], cursor) for fields, cursor in told)


def write_text(lines: Iterable[LogLine]) -> bytes:
    """Return lines as people read them: time, level, node (a dash for the run), message; further lines indented."""
    return "".join(_text(line) for line in lines).encode()


def write_events(page: LogPage, *, run_id: str) -> list[bytes]:
    """Return each line of a page as a server-sent event, whose id is the cursor from which the rest follows."""
    return [_event(line, cursor) for line, cursor in _with_cursors(page, run_id=run_id)]


def write_event(line: LogLine, *, position: LogPosition, run_id: str) -> bytes:
    """Return a line as an event for one who is at a position of his own behind it."""
    return _event(line, encode_log_cursor(position, run_id=run_id).encode())


def write_last_event(name: str, data: bytes) -> bytes:
    """Return an event that ends a stream; it has no id, so that a caller who comes back goes on where it was."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _with_cursors(page: LogPage, *, run_id: str) -> Iterator[tuple[LogLine, bytes]]:
    """Yield each line with the cursor behind it."""
    for line in page.lines:
        yield line, encode_log_cursor(page.position_after(line), run_id=run_id).encode()


def _event(line: LogLine, cursor: bytes) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (cursor, _encode(_told(line)))


def _told(line: LogLine) -> _Line:
    return _Line(format_unix(line.timestamp), line.level, line.node_id, line.message)


def _text(line: LogLine) -> str:
    message = _INDENT.join(line.message.rstrip().splitlines())
    moment = format_unix(line.timestamp)
    moment = moment if "." in moment else f"{moment[:19]}.000Z"  # columns that stand below each other
    return f"{moment} {line.level.upper():7} {line.node_id or '-'}  {message}\n"
