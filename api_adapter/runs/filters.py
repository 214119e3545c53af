"""Reads the filters of a list of runs from the query string."""

from collections.abc import Callable, Sequence
from datetime import datetime

from api_adapter.errors import InvalidRequestError
from api_adapter.storage import STATUSES, RunFilter, RunStatus
from api_adapter.timestamps import parse_end, parse_timestamp

_EXPECTED = "must be a date such as 2025-03-31 or a timestamp such as 2025-03-31T14:00:00Z"


def parse_filter(
    *, pipeline_id: str | None, status: Sequence[str], date_range: str | None, start: str | None, end: str | None
) -> RunFilter:
    """Return the filter that the query asks for; `InvalidRequestError` names what can't be understood."""
    since_field, until_field = "from", "to"
    if date_range is not None:
        if start or end:
            raise InvalidRequestError.of_field("dateRange", "can't be combined with from and to")
        start, separator, end = date_range.partition("..")
        if not separator or not (start or end):
            raise InvalidRequestError.of_field("dateRange", "must be a range such as 2025-03-01..2025-03-31")
        since_field = until_field = "dateRange"
    since = _moment(start, field=since_field, parse=parse_timestamp)
    until = _moment(end, field=until_field, parse=parse_end)
    if since and until and since >= until:
        raise InvalidRequestError.of_field(until_field, "ends before it begins")
    return RunFilter(pipeline_id=pipeline_id, statuses=_statuses(status), since=since, until=until)


def _moment(text: str | None, *, field: str, parse: Callable[[str], datetime]) -> datetime | None:
    if not text:
        return None
    try:
        return parse(text)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError.of_field(field, f"{_EXPECTED}, not {text!r}") from error


def _statuses(given: Sequence[str]) -> tuple[RunStatus, ...]:
    """Return the statuses of a parameter that may be repeated and may hold several, separated by commas."""
    names = {name.strip() for text in given for name in text.split(",")}
    known: dict[str, RunStatus] = {status: status for status in STATUSES}
    for name in sorted(names):
        if name not in known:
            raise InvalidRequestError.of_field("status", f"{name!r} is not one of {', '.join(known)}")
    return tuple(status for status in STATUSES if status in names)
