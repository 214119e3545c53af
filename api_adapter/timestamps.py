"""Timestamps and durations as the API writes and reads them: RFC 3339 in UTC with ``Z``, seconds as numbers."""

import re
from datetime import MINYEAR, UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

from pydantic import AwareDatetime, PlainSerializer, WithJsonSchema

DATE_ONLY = re.compile(r"\d{4}-?\d{2}-?\d{2}", re.ASCII)  # ISO 8601, extended or basic
_PLUS_LOST = re.compile(r"(T.*\d) (\d{2}:?\d{2})$")  # "+" in a query string arrives as a space


def format_timestamp(moment: datetime) -> str:
    """Return ``2025-03-27T02:00:00Z``, with milliseconds where there are any."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    text = utc.isoformat(timespec="milliseconds")
    return f"{text[:19] if utc.microsecond < 1000 else text[:23]}Z"


def format_unix(seconds: float) -> str:
    """Return the moment of these unix seconds as `format_timestamp` does, in a quarter of its time."""
    whole, milliseconds = divmod(round(seconds * 1_000_000) // 1000, 1000)
    return _second(whole) + _FRACTIONS[milliseconds]


def format_span(start: float, end: float) -> int | float:
    """Return the seconds between two moments in unix seconds, 0 if the end comes first, as `format_seconds` does."""
    return format_seconds(max(round(end * 1_000_000) - round(start * 1_000_000), 0) / 1_000_000)


@lru_cache(maxsize=4096)  # many lines of a log are of the same second
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).isoformat()[:19]


_FRACTIONS = ("Z", *(f".{milliseconds:03}Z" for milliseconds in range(1, 1000)))


def parse_timestamp(text: str) -> datetime:
    """Return the moment that a date (its start, in UTC) or a timestamp names; `ValueError` if it names none.

    An offset can carry it past the first or last moment there is, which then stands for it.
    """
    moment = datetime.fromisoformat(_PLUS_LOST.sub(r"\1+\2", text.strip()))
    if "W" in text.upper():  # a week names no day, but Python takes it for its Monday
        raise ValueError(text)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        return _FIRST if moment.year == MINYEAR else _LAST


def parse_end(text: str) -> datetime:
    """Return the first moment after what `text` names: a bare date includes its whole day."""
    length = timedelta(days=1) if DATE_ONLY.fullmatch(text.strip()) else timedelta(microseconds=1)
    moment = parse_timestamp(text)
    return moment + length if moment <= _LAST - length else _LAST


_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def format_seconds(seconds: float) -> int | float:
    """Return seconds to the millisecond, as an integer where they are whole."""
    rounded = round(seconds, 3)
    return int(rounded) if rounded.is_integer() else rounded


Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(format_timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-03-27T02:00:00Z"]}),
]

Seconds = Annotated[
    float,
    PlainSerializer(format_seconds, return_type=int | float),
    WithJsonSchema({"type": "number", "minimum": 0, "examples": [1122]}),
]
