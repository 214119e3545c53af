"""Reads the filters of a list of runs from the query string."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from api_adapter.errors import Detail, InvalidRequestError
from api_adapter.storage import STATUSES, RunFilter
from api_adapter.timestamps import parse_end, parse_timestamp
from planasonix_orchestrator.contract.tags import TRIGGER_KINDS

WordT = TypeVar("WordT", bound=str)

_EXPECTED = "must be a date such as 2025-03-31 or a timestamp such as 2025-03-31T14:00:00Z"


def parse_filter(
    *,
    pipeline_id: str | None = None,
    status: Sequence[str] = (),
    trigger: Sequence[str] = (),
    date_range: str | None = None,
    start: str | None = None,
    end: str | None = None,
    visible: frozenset[str] | None,
) -> RunFilter:
    """Return the filter that the query asks for; `InvalidRequestError` names all that can't be understood."""
    problems: list[Detail] = []
    since, until = _range(date_range, start=start, end=end, problems=problems)
    statuses = _words(status, known=STATUSES, field="status", problems=problems)
    triggers = _words(trigger, known=TRIGGER_KINDS, field="trigger", problems=problems)
    if problems:
        raise InvalidRequestError("; ".join(f"{one.field}: {one.issue}" for one in problems), details=problems)
    return RunFilter(
        pipeline_id=pipeline_id, statuses=statuses, triggers=triggers, since=since, until=until, visible=visible
    )


def _range(
    date_range: str | None, *, start: str | None, end: str | None, problems: list[Detail]
) -> tuple[datetime | None, datetime | None]:
    since_field, until_field = "from", "to"
    if date_range is not None:
        if start or end:
            problems.append(Detail("dateRange", "can't be combined with from and to"))
            return None, None
        start, separator, end = date_range.partition("..")
        if not separator or not (start or end):
            problems.append(Detail("dateRange", "must be a range such as 2025-03-01..2025-03-31"))
            return None, None
        since_field = until_field = "dateRange"
    since = _moment(start, field=since_field, parse=parse_timestamp, problems=problems)
    until = _moment(end, field=until_field, parse=parse_end, problems=problems)
    if since and until and since >= until:
        problems.append(Detail(until_field, "ends before it begins"))
    return since, until


def _moment(
    text: str | None, *, field: str, parse: Callable[[str], datetime], problems: list[Detail]
) -> datetime | None:
    if not text:
        return None
    try:
        return parse(text)
    except ValueError:
        problems.append(Detail(field, f"{_EXPECTED}, not {text!r}"))
        return None


def _words(given: Sequence[str], *, known: Iterable[WordT], field: str, problems: list[Detail]) -> tuple[WordT, ...]:
    """Return the words of a parameter that may be repeated and may hold several, separated by commas."""
    names = {name.strip() for text in given for name in text.split(",")}
    words = tuple(known)
    problems += [Detail(field, f"{name!r} is not one of {', '.join(words)}") for name in sorted(names - set(words))]
    return tuple(word for word in words if word in names)
