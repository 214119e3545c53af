"""Cutting a range of time into slices."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_adapter.backfills.slices import NAMED_STEPS, Slice, cut, parse_bound, parse_step, slices_of_fires
from api_adapter.control import fires_around

BERLIN, NEW_YORK, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("UTC")


def slices(start: str, end: str, *, step: str, zone: ZoneInfo = UTC_ZONE, most: int = 1000) -> list[Slice]:
    bounds = parse_bound(start, zone=zone, is_end=False), parse_bound(end, zone=zone, is_end=True)
    return cut(*bounds, step=parse_step(step), zone=zone, most=most)


def starts(found: list[Slice]) -> list[str]:
    return [f"{one.start:%m-%d %H:%M}" for one in found]


def test_a_date_at_the_end_is_a_whole_day() -> None:
    """And a moment at the end is no part of the range."""
    assert starts(slices("2025-03-01", "2025-03-03", step="day")) == ["03-01 00:00", "03-02 00:00", "03-03 00:00"]
    assert starts(slices("2025-03-01", "2025-03-03T00:00:00Z", step="day")) == ["03-01 00:00", "03-02 00:00"]


def test_slices_touch_each_other() -> None:
    """Each ends where the next begins, and knows where the one before began, also at the ends of the range."""
    found = slices("2025-03-01", "2025-03-02", step="PT6H")
    assert [one.end for one in found[:-1]] == [one.start for one in found[1:]]
    assert [one.start for one in found[:-1]] == [one.before for one in found[1:]]
    assert found[0].before == datetime(2025, 2, 28, 18, tzinfo=UTC)
    assert found[-1].end == datetime(2025, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "start", "hours"),
    [
        (BERLIN, "2025-03-29", [24, 23, 24]),
        (BERLIN, "2025-10-25", [24, 25, 24]),
        (NEW_YORK, "2025-03-08", [24, 23, 24]),
    ],
)
def test_days_are_those_of_the_zone(zone: ZoneInfo, start: str, hours: list[int]) -> None:
    """The day on which summer time begins has 23 hours, the one on which it ends 25; hours are hours all the same."""
    day = datetime.fromisoformat(start)
    end = day.replace(day=day.day + 2).date().isoformat()
    found = slices(start, end, step="day", zone=zone)
    assert [(one.end - one.start).total_seconds() / 3600 for one in found] == hours
    assert len(slices(start, end, step="hour", zone=zone)) == sum(hours)


def test_a_month_after_the_31st_is_the_last_day_of_the_next() -> None:
    """Counted from the first slice, so that nothing drifts."""
    found = slices("2025-01-31", "2025-05-01", step="month")
    assert starts(found) == ["01-31 00:00", "02-28 00:00", "03-31 00:00", "04-30 00:00"]


@pytest.mark.parametrize("step", ["", "P", "PT", "P1DT1H", "P0D", "1D", "minute", "P1.5D", "PT30S", "-P1D"])
def test_a_step_that_is_none_is_refused(step: str) -> None:
    """With words and examples of what would be one."""
    with pytest.raises(ValueError, match="hour, day, week, month, year, or an ISO 8601 duration"):
        parse_step(step)


def test_no_more_are_made_than_are_needed_to_see_that_there_are_too_many() -> None:
    """A range of a thousand years by the minute costs nothing."""
    assert len(slices("1025-01-01", "2025-01-01", step="PT1M", most=10)) == 11


def test_fires_of_a_schedule_bound_its_slices() -> None:
    """As Dagster reckons them: 02:30 does not exist in Berlin on the day on which summer time begins."""
    zone = BERLIN
    start, end = (
        parse_bound(text, zone=zone, is_end=is_end) for text, is_end in (("2025-03-29", False), ("2025-03-31", True))
    )
    fires = fires_around("30 2 * * *", timezone="Europe/Berlin", start=start, end=end, most=10)
    found = slices_of_fires(fires)
    assert [f"{one.start.astimezone(zone):%m-%d %H:%M}" for one in found] == [
        "03-29 02:30",
        "03-30 03:00",
        "03-31 02:30",
    ]
    assert (found[0].before, found[-1].end) == (fires[0], fires[-1])
    assert fires_around("0 0 29 2 *", timezone="UTC", start=start, end=end, most=10) == []


@given(
    start=st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2050, 1, 1)),
    step=st.sampled_from([*NAMED_STEPS, "P3D", "PT90M", "P2W"]),
    zone=st.sampled_from([BERLIN, NEW_YORK, UTC_ZONE]),
)
def test_slices_never_go_back(start: datetime, step: str, zone: ZoneInfo) -> None:
    """Wherever the range begins, and whatever the clocks do."""
    begin = start.replace(tzinfo=zone).astimezone(UTC)
    found = cut(begin, datetime(2060, 1, 1, tzinfo=UTC), step=parse_step(step), zone=zone, most=30)
    marks = [found[0].before, *(one.start for one in found), found[-1].end]
    assert marks == sorted(set(marks))
    assert found[0].start == begin
