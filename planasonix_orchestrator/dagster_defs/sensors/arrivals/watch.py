"""One poll of a place: what lies there, what of it waits, and which runs are to be started."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from planasonix_orchestrator.dagster_defs.sensors.arrivals.place import Listing, Place
from planasonix_orchestrator.dagster_defs.sensors.arrivals.record import MOST_FILES, Batch, Connect, Record
from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Arrival, Patience, Waiting

_SECONDS_BETWEEN_TIDYING = 24 * 3600
_SECONDS_BEFORE_TIDYING = 3600  # not at once: the first poll has enough to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What a poll comes to: the batches to start runs for, the state of things in words, names that can't be used."""

    batches: Sequence[Batch]
    summary: str
    unusable: Sequence[str] = ()


class Watch:
    """Watches a place for a trigger. Not for several threads at once; other processes may watch the same.

    A file is given to its batch in one transaction before anybody asks for a run. Until Dagster has a run of the
    batch in its queue, each poll returns the batch again; its id keeps Dagster from making a second run of it.
    """

    def __init__(self, trigger_id: str, *, place: Place, patience: Patience, ignore_existing: bool = False) -> None:
        self._place = place
        self._record = Record(trigger_id)
        self._waiting = Waiting(patience)
        self._ignore_existing = ignore_existing
        self._begun = False
        self._tidy_at: float | None = None

    @property
    def address(self) -> str:
        """Where it looks."""
        return self._place.address

    def poll(self, connect: Connect, *, at: float) -> Poll:
        """Look at the place, at a time in seconds since 1970. `PlaceError` if that is not possible."""
        listing = self._place.look(self._record.read_known(connect))
        if not self._begin(listing, connect=connect, at=at):
            due = self._waiting.look(listing.arrivals, at=at)
            if due:
                self._record.decide(_first(due, files=MOST_FILES), connect=connect, at=at)
        self._tidy(listing, connect=connect, at=at)
        batches = self._record.open_batches(connect)
        return Poll(batches=batches, summary=self._summary(listing), unusable=listing.unusable)

    def _begin(self, listing: Listing, *, connect: Connect, at: float) -> bool:
        """Tell whether this is the first look ever, and what is there was taken as given."""
        if self._begun:
            return False
        ignored = listing.arrivals if self._ignore_existing else ()
        first = self._record.begin(self.address, ignoring=ignored, connect=connect, at=at)
        self._begun = True
        return first and self._ignore_existing

    def _tidy(self, listing: Listing, *, connect: Connect, at: float) -> None:
        if self._tidy_at is None:
            self._tidy_at = at + _SECONDS_BEFORE_TIDYING
        if at >= self._tidy_at:
            self._record.tidy(listing.versions, connect=connect, at=at)
            self._tidy_at = at + _SECONDS_BETWEEN_TIDYING

    def _summary(self, listing: Listing) -> str:
        waiting = len(self._waiting)
        files = f"{len(listing.versions):,} file{'s' * (len(listing.versions) != 1)} in {self.address}"
        if not waiting:
            return f"{files}, none of them new."
        return f"{files}; {waiting:,} of them wait until complete, or until their batch is."


def _first(batches: Sequence[Sequence[Arrival]], *, files: int) -> Sequence[Sequence[Arrival]]:
    """Return as many of the batches as have so many files: what is left is due again at the next poll."""
    numbers = accumulate(len(batch) for batch in batches)
    return [batch for batch, number in zip(batches, numbers, strict=True) if number <= files]
