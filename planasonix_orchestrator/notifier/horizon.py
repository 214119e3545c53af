"""Up to which event of the log nothing can come any more: ids become visible out of the order of their making."""

from collections.abc import Collection
from typing import Final

from planasonix_orchestrator.notifier.database import Transaction

# The statement has taken its snapshot before it looks at the locks. A writer holds its lock since before it drew an id,
# and until what it has written is visible.
_LOOK: Final = """
SELECT coalesce((SELECT max(id) FROM event_logs), 0), ARRAY(
    SELECT virtualtransaction FROM pg_locks
    WHERE relation = 'event_logs'::regclass AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)"""


class Horizon:
    """Finds ids up to which each event is visible in every later statement, or will never come.

    Where an id was visible while some transactions were writing, those alone can hold lower ones that are not: once
    they have ended, whoever writes by then, nothing is missing below it. So it moves on however busy the log is.
    """

    def __init__(self) -> None:
        self._candidate = 0
        self._writers: frozenset[str] | None = None

    def look(self, transaction: Transaction) -> tuple[int, int | None]:
        """Return the newest visible id, and the one up to which nothing is missing; None while nobody can tell."""
        ((newest, writers),) = transaction.rows(_LOOK)
        return newest, self.settle(newest=newest, writers=writers)

    def settle(self, *, newest: int, writers: Collection[str]) -> int | None:
        """Take note of what a look has found, and return up to which id nothing is missing."""
        if not writers:
            self._writers = None
            return newest
        settled = None
        if self._writers is not None and self._writers.isdisjoint(writers):
            settled, self._writers = self._candidate, None
        if self._writers is None:
            self._candidate, self._writers = newest, frozenset(writers)
        return settled
