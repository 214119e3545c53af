"""When schedules fire: Dagster's own reckoning, also of summer time, and what they were before they were changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from planasonix_orchestrator.dagster_defs.dagster_internals import schedule_execution_time_iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """A cron expression and the IANA name of the time zone that it is read in."""

    cron: str
    timezone: str

    def fires(self, *, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the fires after a moment, up to and including another, in UTC."""
        return takewhile(lambda fire: fire <= until, self._later(after))

    def next(self, moment: datetime) -> datetime:
        """Return the first fire after a moment."""
        return next(self._later(moment))

    def previous(self, moment: datetime) -> datetime:
        """Return the last fire before a moment."""
        fires = schedule_execution_time_iterator(moment.timestamp(), self.cron, self.timezone, ascending=False)
        return next(fire for fire in _in_utc(fires) if fire < moment)

    def _later(self, moment: datetime) -> Iterator[datetime]:
        fires = schedule_execution_time_iterator(moment.timestamp(), self.cron, self.timezone)
        return (fire for fire in _in_utc(fires) if fire > moment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """The rhythm that a schedule has had since a moment."""

    since: datetime
    rhythm: Rhythm


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """A moment at which a schedule was due, by the rhythm that it had then."""

    at: datetime
    rhythm: Rhythm


BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def current_eras(
    known: Sequence[Era], *, rhythm: Rhythm, changed_at: datetime, bound: datetime, now: datetime
) -> tuple[Era, ...]:
    """Return the eras of a schedule that has this rhythm now, less those that were over at `bound`.

    `known` are those that were found out before. Where the last of them had another rhythm, the new one began at
    `changed_at`, as far as that is believable: what was due by `bound` has been seen to, by the rhythm of then.
    """
    eras = [*known] or [Era(since=BEGINNING, rhythm=rhythm)]
    if eras[-1].rhythm != rhythm:
        eras.append(Era(since=min(max(changed_at, bound), now), rhythm=rhythm))
    ends = [era.since for era in eras[1:]]
    over = sum(end <= bound for end in ends)
    return tuple(eras[over:])


def due_fires(eras: Sequence[Era], *, after: datetime, until: datetime, now: datetime) -> Iterator[Fire]:
    """Yield the fires after a moment, in their order: those of the last era up to `until`, of earlier ones to its end.

    `until` is the fire at hand; of an earlier era there may be later ones, which nobody will ask for any more.
    """
    ends = [*(era.since for era in eras[1:]), None]
    for era, end in zip(eras, ends, strict=True):
        last = until if end is None else min(end, now)
        for at in era.rhythm.fires(after=max(after, era.since), until=last):
            yield Fire(at=at, rhythm=era.rhythm)


def newest_fires(
    eras: Sequence[Era], *, after: datetime, until: datetime, now: datetime, number: int
) -> tuple[Sequence[Fire], bool]:
    """Return the newest of the fires that are due, in their order, so many at most, and whether these are all.

    However long the time is, no more than some times as many are reckoned out: cron expressions are slow to follow.
    """
    length = timedelta(minutes=number)  # in which there can be no more
    while True:
        begin = max(after, until - length)
        fires = [*due_fires(eras, after=begin, until=until, now=now)]
        if begin == after or len(fires) > number:
            return fires[-number:], len(fires) <= number
        length *= 4


def _in_utc(fires: Iterator[datetime]) -> Iterator[datetime]:
    return (fire.astimezone(UTC) for fire in fires)
