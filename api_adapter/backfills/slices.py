"""Cuts a range of time into slices: by a step of the clock or the calendar, or at the fires of a schedule."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from api_adapter.timestamps import DATE_ONLY, parse_timestamp

NAMED_STEPS = {"hour": "PT1H", "day": "P1D", "week": "P1W", "month": "P1M", "year": "P1Y"}
# ISO 8601, with the largest part that a step is likely to have: of the calendar or of the clock, never of both.
_DURATION = re.compile(
    r"P(?:(?P<years>\d{1,4})Y)?(?:(?P<months>\d{1,4})M)?(?:(?P<weeks>\d{1,4})W)?(?:(?P<days>\d{1,5})D)?"
    r"(?:T(?:(?P<hours>\d{1,5})H)?(?:(?P<minutes>\d{1,6})M)?)?",
    re.ASCII,
)
_OF_THE_CLOCK = {"hours", "minutes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the range, from `start` up to the start of the next one, `end`; `before` is that of the one before."""

    before: datetime
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is from one slice to the next: so many hours and minutes, or so many days of the calendar."""

    parts: tuple[tuple[str, int], ...]

    def after(self, start: datetime, number: int, *, zone: ZoneInfo) -> datetime:
        """Return where the slice `number` begins, in UTC, if the first does at `start`.

        Days begin at the same time of the clock, whatever summer time does meanwhile; a month after the 31st is the
        last day of the next one.
        """
        if any(name in _OF_THE_CLOCK for name, _ in self.parts):
            return start + number * timedelta(**dict(self.parts))
        local = start.astimezone(zone).replace(tzinfo=None)
        moved: datetime = local + relativedelta(**{name: amount * number for name, amount in self.parts})
        return moved.replace(tzinfo=zone).astimezone(UTC)


def parse_step(text: str) -> Step:
    """Return the step that a word or an ISO 8601 duration names; `ValueError` says what was expected."""
    match = _DURATION.fullmatch(NAMED_STEPS.get(text, text))
    parts = tuple((name, int(said)) for name, said in (match.groupdict() if match else {}).items() if said)
    clock = {name in _OF_THE_CLOCK for name, _ in parts}
    if len(clock) != 1 or not any(amount for _, amount in parts):
        words = ", ".join(NAMED_STEPS)
        raise ValueError(f"must be one of {words}, or an ISO 8601 duration of days or of hours, such as P7D or PT6H")
    return Step(parts)


def parse_bound(text: str, *, zone: ZoneInfo, is_end: bool) -> datetime:
    """Return the moment that a bound of the range names, in UTC; `ValueError` if it names none.

    A bare date is a day of the zone: its begin, or for the end of the range the begin of the next one. A timestamp
    without an offset is one of the zone, too.
    """
    moment = datetime.fromisoformat(text.strip())
    if DATE_ONLY.fullmatch(text.strip()):
        moment += timedelta(days=1) if is_end else timedelta()
    if moment.tzinfo is None:
        return moment.replace(tzinfo=zone).astimezone(UTC)
    return parse_timestamp(text)


def cut(start: datetime, end: datetime, *, step: Step, zone: ZoneInfo, most: int) -> list[Slice]:
    """Return the slices that begin in a range, of which `end` is no part, at most `most` and one more."""
    marks = (step.after(start, number, zone=zone) for number in count(-1))
    return list(islice(_slices(marks, end=end), most + 1))


def slices_of_fires(fires: Sequence[datetime]) -> list[Slice]:
    """Return the slices that fires of a schedule begin; the first and the last fire only bound them."""
    return [
        Slice(before=before, start=start, end=end)
        for before, start, end in zip(fires, fires[1:], fires[2:], strict=False)
    ]


def _slices(marks: Iterator[datetime], *, end: datetime) -> Iterator[Slice]:
    before, start = next(marks), next(marks)
    for after in marks:
        if start >= end:
            return
        yield Slice(before=before, start=start, end=after)
        before, start = start, after
