"""When schedules fire: on the days on which the clocks change, after changes of the schedule, over long times."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from api_adapter.control import next_fires
from planasonix_orchestrator.dagster_defs.schedules.times import (
    BEGINNING,
    Era,
    Rhythm,
    current_eras,
    due_fires,
    newest_fires,
)
from tests.dagster_defs.scheduling import moment

HOUR = timedelta(hours=1)
HOURLY, DAILY = Rhythm(cron="0 * * * *", timezone="UTC"), Rhythm(cron="30 0 * * *", timezone="UTC")
# The days on which the clocks change, and when a fire of 02:30 comes on that day and on the next, in UTC: where it does
# not exist, at 03:00 instead; where it comes twice, as in Berlin, the second time.
FORWARD = [
    ("America/New_York", "2025-03-09", ["2025-03-09T07:00", "2025-03-10T06:30"]),
    ("America/New_York", "2026-03-08", ["2026-03-08T07:00", "2026-03-09T06:30"]),
    ("Europe/Berlin", "2025-03-30", ["2025-03-30T01:00", "2025-03-31T00:30"]),
    ("Europe/Berlin", "2026-03-29", ["2026-03-29T01:00", "2026-03-30T00:30"]),
]
BACK = [
    ("America/New_York", "2025-11-02", ["2025-11-02T07:30", "2025-11-03T07:30"]),
    ("America/New_York", "2026-11-01", ["2026-11-01T07:30", "2026-11-02T07:30"]),
    ("Europe/Berlin", "2025-10-26", ["2025-10-26T01:30", "2025-10-27T01:30"]),
    ("Europe/Berlin", "2026-10-25", ["2026-10-25T01:30", "2026-10-26T01:30"]),
]


def midnight(day: str, timezone: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)


@pytest.mark.parametrize(("timezone", "day", "expected"), [*FORWARD, *BACK])
def test_a_daily_schedule_fires_once_a_day(timezone: str, day: str, expected: list[str]) -> None:
    """Also on the days on which its time does not exist, or comes twice; the preview of the API says the same."""
    rhythm = Rhythm(cron="30 2 * * *", timezone=timezone)
    begin = midnight(day, timezone)
    fires = [moment(each) for each in expected]
    assert list(islice(rhythm.fires(after=begin, until=begin + 50 * HOUR), 2)) == fires
    assert next_fires("30 2 * * *", timezone=timezone, after=begin, number=2) == fires
    assert (rhythm.next(fires[0]), rhythm.previous(fires[1])) == (fires[1], fires[0])


@pytest.mark.parametrize(("timezone", "day", "_"), [*FORWARD, *BACK])
def test_an_hourly_schedule_fires_every_hour(timezone: str, day: str, _: list[str]) -> None:
    """Every hour that passes, whatever the clocks say: 23 or 25 times on such a day."""
    rhythm = Rhythm(cron="0 * * * *", timezone=timezone)
    begin = midnight(day, timezone)
    fires = list(rhythm.fires(after=begin, until=begin + 26 * HOUR))
    assert fires == [begin + number * HOUR for number in range(1, 27)]
    assert next_fires("0 * * * *", timezone=timezone, after=begin, number=26) == fires
    assert [rhythm.previous(fire) for fire in fires] == [fire - HOUR for fire in fires]


@pytest.mark.parametrize("cron", ["30 2 * * *", "30 1 * * *", "0 2,3 * * *", "*/30 1-3 * * *", "15 * * * *"])
@pytest.mark.parametrize(("timezone", "day", "_"), [*FORWARD, *BACK])
def test_fires_are_the_same_wherever_one_begins_to_look(timezone: str, day: str, _: list[str], cron: str) -> None:
    """The scheduler looks again every minute: what it finds must be what it would have found from the start."""
    rhythm = Rhythm(cron=cron, timezone=timezone)
    begin = midnight(day, timezone)
    until = begin + 30 * HOUR
    whole = list(rhythm.fires(after=begin, until=until))
    assert len(set(whole)) == len(whole)
    for minutes in range(0, 6 * 60, 10):
        after = begin + timedelta(minutes=minutes)
        assert list(rhythm.fires(after=after, until=until)) == [fire for fire in whole if fire > after], after


def eras_of(*eras: tuple[str, Rhythm]) -> list[Era]:
    return [Era(since=moment(since), rhythm=rhythm) for since, rhythm in eras]


def test_a_rhythm_that_was_never_changed_is_one_era() -> None:
    """Nothing known, or the same."""
    bound, now = moment("2025-01-01T00:00"), moment("2025-01-02T00:00")
    first = current_eras([], rhythm=HOURLY, changed_at=now, bound=bound, now=now)
    assert first == (Era(since=BEGINNING, rhythm=HOURLY),)
    assert current_eras(first, rhythm=HOURLY, changed_at=now, bound=bound, now=now) == first


@pytest.mark.parametrize(
    ("changed_at", "since"),
    [
        ("2025-01-01T12:00", "2025-01-01T12:00"),
        ("2024-01-01T00:00", "2025-01-01T00:00"),  # a file with an old stamp: not before what was seen to
        ("2026-01-01T00:00", "2025-01-02T00:00"),  # a clock that is ahead: not after now
    ],
)
def test_a_change_begins_an_era(changed_at: str, since: str) -> None:
    """When the file was changed, as far as that can be."""
    bound, now = moment("2025-01-01T00:00"), moment("2025-01-02T00:00")
    known = [Era(since=BEGINNING, rhythm=DAILY)]
    eras = current_eras(known, rhythm=HOURLY, changed_at=moment(changed_at), bound=bound, now=now)
    assert eras[-1] == Era(since=moment(since), rhythm=HOURLY)
    again = current_eras(eras, rhythm=HOURLY, changed_at=now, bound=bound, now=now)
    assert again == eras, "once it is known when, it stays so"


def test_eras_that_are_over_are_forgotten() -> None:
    """As soon as all of their fires were seen to."""
    known = eras_of(("2025-01-01T00:00", DAILY), ("2025-01-02T00:00", HOURLY))
    now = moment("2025-01-05T00:00")
    for bound, number in (("2025-01-01T23:59", 2), ("2025-01-02T00:00", 1)):
        assert len(current_eras(known, rhythm=HOURLY, changed_at=now, bound=moment(bound), now=now)) == number


def test_each_era_has_the_fires_of_its_own_rhythm() -> None:
    """Up to its end; the last one up to the fire at hand."""
    eras = eras_of(("2025-01-01T00:00", DAILY), ("2025-01-02T01:30", HOURLY))
    until, now = moment("2025-01-02T03:00"), moment("2025-01-02T04:30")
    fires = [*due_fires(eras, after=moment("2025-01-01T00:00"), until=until, now=now)]
    expected = ["2025-01-01T00:30", "2025-01-02T00:30", "2025-01-02T02:00", "2025-01-02T03:00"]
    assert [fire.at for fire in fires] == [moment(each) for each in expected]
    assert [fire.rhythm for fire in fires] == [DAILY, DAILY, HOURLY, HOURLY]


@pytest.mark.parametrize("number", [1, 3, 24, 100])
def test_of_a_long_time_the_newest_fires_are_found(number: int) -> None:
    """So many at most, and it is told whether there are more."""
    eras = [Era(since=BEGINNING, rhythm=HOURLY)]
    until = moment("2025-01-02T00:00")
    whole = [fire.at for fire in due_fires(eras, after=until - 24 * HOUR, until=until, now=until)]
    fires, complete = newest_fires(eras, after=until - 24 * HOUR, until=until, now=until, number=number)
    assert [fire.at for fire in fires] == whole[-number:]
    assert complete == (number >= 24)
    fires, complete = newest_fires(eras, after=BEGINNING, until=until, now=until, number=number)
    assert (len(fires), complete) == (number, False)
