"""Places in the log of a run, and how they add up.

Event ids are given out before they become visible, so a reader that only goes on after the last id it saw loses
events for good (dagster#33741). A position therefore also names the ids before its last one that could not be seen
when it was made; who goes on from it looks for them again. Nothing is lost, and nothing comes twice.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """What has been read of a run's log: the events up to `last`, but for those in `missing` (ascending)."""

    last: int = 0
    missing: tuple[int, ...] = ()

    def __contains__(self, event_id: int) -> bool:
        return event_id <= self.last and event_id not in self.missing

    def __or__(self, other: "LogPosition") -> "LogPosition":
        """Return the position of one who has read what is in either."""
        if not self.missing and not other.missing:
            return self if self.last >= other.last else other
        open_ids = {event_id for event_id in (*self.missing, *other.missing) if self._lacks(event_id, other)}
        return LogPosition(last=max(self.last, other.last), missing=tuple(sorted(open_ids)))

    def up_to(self, event_id: int) -> "LogPosition":
        """Return the position of one who has read only the events of this one up to an id."""
        if self.last <= event_id:
            return self
        return LogPosition(last=event_id, missing=tuple(one for one in self.missing if one <= event_id))

    def _lacks(self, event_id: int, other: "LogPosition") -> bool:
        return event_id not in self and event_id not in other
