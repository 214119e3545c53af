"""When schedules fire, by Dagster's own reckoning, which is what it will do, also where summer time begins and ends."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile

from api_adapter.control.dagster_api import schedule_execution_time_iterator


def next_fires(cron_expression: str, *, timezone: str, after: datetime, number: int) -> list[datetime]:
    """Return the next fires of a schedule after a moment, in UTC."""
    return list(islice(_fires(cron_expression, timezone=timezone, after=after), number))


def fire_before(cron_expression: str, *, timezone: str, moment: datetime) -> datetime:
    """Return the last fire of a schedule before a moment, in UTC."""
    back = schedule_execution_time_iterator(moment.timestamp(), cron_expression, timezone, ascending=False)
    return next(fire for fire in back if fire < moment).astimezone(UTC)


def fires_around(cron_expression: str, *, timezone: str, start: datetime, end: datetime, most: int) -> list[datetime]:
    """Return the fires of a range, of which `end` is no part, with the one before and the one after, in UTC.

    At most `most` of the range, and one more. Empty if there is none in the range.
    """
    before = fire_before(cron_expression, timezone=timezone, moment=start)
    fires = _fires(cron_expression, timezone=timezone, after=before)
    within = list(islice(takewhile(lambda fire: fire < end, fires), most + 1))
    if not within:
        return []
    return [before, *within, *next_fires(cron_expression, timezone=timezone, after=within[-1], number=1)]


def _fires(cron_expression: str, *, timezone: str, after: datetime) -> Iterator[datetime]:
    fires = schedule_execution_time_iterator(after.timestamp(), cron_expression, timezone)
    return (fire.astimezone(UTC) for fire in fires if fire > after)
