"""Log cursors, ``crs_<run>_<last event>`` and after a dash the events still missing: bound to one run."""

import re

from api_adapter.errors import InvalidRequestError
from api_adapter.storage import LogPosition
from planasonix_orchestrator.contract.ids import RUN_PREFIX

PREFIX = "crs_"
_CURSOR = re.compile(
    r"crs_(?P<run>.+)_(?P<last>[0-9]{4,18})(?:-(?P<missing>[0-9a-f]{1,15}(?:\.[0-9a-f]{1,15}){0,63}))?"
)


def encode_log_cursor(position: LogPosition, *, run_id: str) -> str:
    """Return the cursor of a position in a run's log."""
    cursor = f"{PREFIX}{run_id.removeprefix(RUN_PREFIX)}_{position.last:04d}"
    if not position.missing:
        return cursor
    return f"{cursor}-{'.'.join(f'{position.last - event:x}' for event in position.missing)}"


def decode_log_cursor(cursor: str, *, run_id: str, field: str) -> LogPosition:
    """Return the position in a cursor that stands in `field`; `InvalidRequestError` if it is none of this run."""
    match = _CURSOR.fullmatch(cursor)
    if match is None or match["run"] != run_id.removeprefix(RUN_PREFIX):
        raise InvalidRequestError.of_field(field, "is not a cursor of this run's log; use one as it was given")
    last = int(match["last"])
    back = (int(distance, 16) for distance in (match["missing"] or "").split(".") if distance)
    return LogPosition(last=last, missing=tuple(sorted({last - distance for distance in back if distance < last})))
