"""What the OpenAPI document says of answers that are no JSON."""

from typing import Any

from api_adapter.logs.formats import MEDIA_TYPES, LogFormat
from api_adapter.logs.schemas import RunLogRecord
from api_adapter.responses import Responses, declare

_CURSOR = "crs_01j8k2m4n5p6q7r8s9t0v1w2x3_0042"
_LINE = '{"ts":"2025-03-27T02:00:06.123Z","level":"info","nodeId":"n_source","message":"Started read"'
_TEXT = (
    "2025-03-27T02:00:05.000Z INFO    -  Run started\n"
    "2025-03-27T02:00:06.123Z INFO    n_source  Started read\n"
    "2025-03-27T02:00:09.480Z ERROR   n_source  Node failed: relation does not exist\n"
    "    LINE 1: SELECT * FROM public.contact\n"
)
_EVENTS = f"""retry: 2000

id: {_CURSOR}
data: {_LINE}}}

: heartbeat

event: end
data: {{"status":"succeeded"}}

"""


def _text(description: str, *, example: str, **schema: Any) -> dict[str, Any]:
    return {"schema": {"type": "string", "description": description, **schema}, "example": example}


_NDJSON = _text(
    "One JSON object per line, oldest first, each with the `cursor` behind it.",
    example=f'{_LINE},"cursor":"{_CURSOR}"}}\n',
    contentMediaType="application/json",
    contentSchema=RunLogRecord.model_json_schema(mode="serialization", by_alias=True),
)
_PLAIN = _text(
    "Time, level, node (a dash for the run as a whole), two spaces, message. Its further lines are indented.",
    example=_TEXT,
)
_STREAM = _text(
    "Server-sent events: an event for each line, whose id is the cursor behind it, history first, then each line as "
    "it comes; comments as heartbeats. `end` carries the final status, after which the stream closes; `revoked` says "
    "that the credential is no longer valid.",
    example=_EVENTS,
)
_CONTENT = {LogFormat.NDJSON: _NDJSON, LogFormat.TEXT: _PLAIN, LogFormat.EVENTS: _STREAM}

LOG_RESPONSES: Responses = {
    **declare(
        404,
        406,
        409,
        s409="`format=urls`, but this deployment keeps raw output where it has no URLs.",
        s406="`Accept` names none of the media types of a log.",
    ),
    200: {
        "description": "The log, or (`format=urls`) where the raw output lies.",
        "content": {media_type: _CONTENT[kind] for kind in _CONTENT for media_type in MEDIA_TYPES[kind]},
    },
    304: {"description": "The run has ended, and the caller has this answer already."},
}

OUTPUT_RESPONSES: Responses = {
    **declare(404, s404="There is no such run, this credential may not see it, or nothing is kept of this stream."),
    200: {
        "description": "The raw output.",
        "content": {"text/plain": _text("As the processes wrote it, byte by byte.", example="Read 10 rows\n")},
    },
}
