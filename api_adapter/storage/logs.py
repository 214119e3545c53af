"""The log of a run: what its nodes logged, and its milestones in plain words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice, starmap
from typing import Any

from api_adapter.storage.database import Connection
from api_adapter.storage.lines import LEVELS, TOLD, LogLevel, LogLine, node_of, tell_line
from api_adapter.storage.positions import LogPosition
from api_adapter.storage.runs import FINISHED, STATUS_OF, ListedRun, RunStatus, list_one_and
from api_adapter.storage.story import STEP_EVENTS, is_one_of
from planasonix_orchestrator.contract.names import encode_name

_LOOK_BACK = 5000  # ids: far more than can be in flight at once
_BEFORE_OLDEST = 64  # ids before the first visible event of a run, at which its own first may still be in flight
_MOST_MISSING = 64  # gaps that stay are of rolled-back writes; only the newest can still be filled
_FEWEST_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which lines of a run's log to tell: of one node, of a level at least, from a moment on."""

    node_id: str | None = None
    level: LogLevel = "info"
    since: datetime | None = None

    def passes(self, line: LogLine) -> bool:
        """Tell whether a line is wanted."""
        return (
            LEVELS[line.level] >= LEVELS[self.level]
            and (self.node_id is None or line.node_id == self.node_id)
            and (self.since is None or line.time >= self.since)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Some lines, oldest first, read by one who came from `before` and goes on from `after`.

    `more` is true if there are more lines already. `status` is that of the run a moment before.
    """

    lines: Sequence[LogLine]
    before: LogPosition
    after: LogPosition
    more: bool
    status: RunStatus

    @property
    def complete(self) -> bool:
        """True once the run has ended and this was the rest of its log."""
        return self.status in FINISHED and not self.more

    def position_after(self, line: LogLine) -> LogPosition:
        """Return the position from which exactly the lines behind this one follow."""
        if line.id > self.before.last and not self.after.missing:
            return LogPosition(last=line.id)
        return self.before | self.after.up_to(line.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """A run whose log is asked for, and its newest event (0 if there is none).

    All events up to `settled` are visible to everybody who looks later, or will never come.
    """

    run: ListedRun
    newest: int
    settled: int

    @property
    def finished(self) -> bool:
        """True once the run has ended."""
        return self.run.status in FINISHED

    @property
    def complete(self) -> bool:
        """True once the run has ended, and nothing that it has logged is still on its way."""
        return self.finished and self.newest <= self.settled


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """How far a run has come: its newest event (0 if there is none), and whether one that was missing is there now."""

    status: RunStatus
    newest: int
    filled: bool

    @property
    def finished(self) -> bool:
        """True once the run has ended."""
        return self.status in FINISHED


# To be compared with (run_id, id): an index that starts with id, or with the run as a constant, can't give this order,
# so that the planner has no other way than the run's own part of an index, whatever its statistics say. The way
# by the primary key takes a second to the first page of a run at the end of a million events.
_PAGE = """
SELECT id, dagster_event_type, step_key, event FROM event_logs
WHERE (run_id, id) > (%(run)s, %(after)s) AND run_id <= %(run)s{conditions}
ORDER BY run_id, id LIMIT %(most)s"""
_LATE = """
SELECT id, dagster_event_type, step_key, event FROM event_logs
WHERE id = ANY(%(missing)s) AND run_id = %(run)s{conditions}
ORDER BY id"""
_NEWEST = """
SELECT id FROM event_logs WHERE (run_id, id) < (%(run)s, 9223372036854775807) AND run_id >= %(run)s
ORDER BY run_id DESC, id DESC LIMIT 1"""
_OLDEST = """
SELECT id FROM event_logs WHERE (run_id, id) > (%(run)s, 0) AND run_id <= %(run)s ORDER BY run_id, id LIMIT 1"""
_STATE = f"""
SELECT status, coalesce(({_NEWEST}), 0) AS newest,
       EXISTS (SELECT FROM event_logs WHERE id = ANY(%(missing)s::bigint[]) AND run_id = %(run)s) AS filled
FROM runs WHERE run_id = %(run)s"""
# Whether a transaction is under way that may make events visible: it holds this lock since before it drew an id.
_WRITERS = """
SELECT EXISTS (
    SELECT FROM pg_locks WHERE relation = 'event_logs'::regclass AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS writing"""
# How far the run has come, and an id up to which each event is visible in every later snapshot, or will never come.
# Ids are given out in order, each to somebody who holds the lock of writers by then, and until what he has written is
# visible: an id that was visible before there was a moment without writers has nothing missing below it. The statement
# has taken its snapshot before it looks at the locks.
_SETTLED = f"coalesce((SELECT max(id) FROM event_logs WHERE NOT ({_WRITERS})), 0)"
_HEAD = f"coalesce(({_NEWEST}), 0) AS newest, {_SETTLED} AS settled"
_VISIBLE_OF_RUN = "SELECT id FROM event_logs WHERE id = ANY(%(ids)s) AND run_id = %(run)s ORDER BY id"
_VISIBLE = "SELECT id FROM event_logs WHERE id = ANY(%(ids)s)"
# Between each id and the next: what is not visible of the ids from `first` to `last`.
_GAPS = """
SELECT id + 1 AS first, next - 1 AS last FROM (
    SELECT id, lead(id, 1, %(last)s::bigint + 1) OVER (ORDER BY id) AS next FROM (
        SELECT %(first)s::bigint - 1 AS id
        UNION ALL SELECT id FROM event_logs WHERE id BETWEEN %(first)s AND %(last)s
    ) AS visible
) AS pairs WHERE next > id + 1 ORDER BY id DESC LIMIT %(most)s"""

_OF_TOLD_TYPES = "dagster_event_type IS NULL OR dagster_event_type = ANY(%(types)s)"
# Serious lines are few among many, and what user code has logged has its level in its JSON only. strpos finds it early
# in the text of those that are left out; the others are looked at again.
_SERIOUS = """
    (dagster_event_type IS NULL AND strpos(event, '"level": 20') < 1 AND strpos(event, '"level": 10') < 1)
    OR dagster_event_type = ANY(%(types)s)"""
# The sum keeps the planner from its statistics: for the few rows that they promise it would read the whole table.
_SINCE = "timestamp + interval '0' >= %(since)s"

_HAS_STEP = "SELECT FROM event_logs WHERE step_key = %(step)s AND run_id = %(run)s LIMIT 1"
_STEPS = f"SELECT DISTINCT step_key FROM event_logs WHERE run_id = %(run)s AND {is_one_of(STEP_EVENTS)}"


def read_log_head(connection: Connection, *, run_id: str) -> LogHead | None:
    """Return a run and how far its log goes, with one statement; None if there is no such run."""
    found = list_one_and(connection, _HEAD, run_id=run_id)
    return LogHead(run=found[0], newest=found[1].newest, settled=found[1].settled) if found else None


def read_log(
    connection: Connection,
    *,
    run_id: str,
    after: LogPosition,
    filter_by: LogFilter,
    limit: int,
    head: LogHead | None = None,
) -> LogPage | None:
    """Return at most `limit` lines after a position, None if there is no such run.

    `head` is what was read before; of a log that was complete by then only the lines are read.
    """
    complete_page = partial(_complete_page, connection, after=after, filter_by=filter_by, limit=limit)
    if head is not None and (page := complete_page(head)):
        return page
    head = read_log_head(connection, run_id=run_id)
    if head is None:
        return None
    if page := complete_page(head):
        return page
    with connection.snapshot():
        # It asks which steps are the node's: an earlier answer would lack the lines of one that begins now.
        reader = _Reader(connection, run_id=run_id, filter_by=filter_by)
        lines, read, more = reader.lines(after, limit=limit)
        if not more:
            read = max(read, reader.newest())
        position = _position(connection, run_id=run_id, before=after, read=read, settled=head.settled)
    return LogPage(lines=lines, before=after, after=position, more=more, status=head.run.status)


def _complete_page(
    connection: Connection, head: LogHead, *, after: LogPosition, filter_by: LogFilter, limit: int
) -> LogPage | None:
    """Return a page of a log to which nothing is on its way: all statements see the same of it, snapshot or not.

    None if it is not complete, or has changed since.
    """
    if not head.complete or after.missing:
        return None
    reader = _Reader(connection, run_id=head.run.dagster_id, filter_by=filter_by)
    lines, read, more = reader.lines(after, limit=limit)
    if not more:
        read = reader.newest()  # 0 once the run has been deleted
    if read > head.newest or not (more or read == head.newest):
        return None
    position = LogPosition(last=max(after.last, read))
    return LogPage(lines=lines, before=after, after=position, more=more, status=head.run.status)


def read_log_end(connection: Connection, *, run_id: str) -> LogPosition:
    """Return the position of one who has read the whole log of a run as it is now."""
    newest = connection.prepared_rows(_NEWEST, {"run": run_id})
    return _position(connection, run_id=run_id, before=LogPosition(), read=newest[0].id if newest else 0)


def read_log_state(connection: Connection, *, run_id: str, missing: Sequence[int]) -> LogState | None:
    """Return how far a run has come, with one cheap statement; None if there is no such run."""
    found = connection.prepared_rows(_STATE, {"run": run_id, "missing": list(missing)})
    return (
        LogState(status=STATUS_OF[found[0].status], newest=found[0].newest, filled=found[0].filled) if found else None
    )


def has_writers(connection: Connection) -> bool:
    """Tell whether events are being written at this moment."""
    ((writing,),) = connection.rows(_WRITERS)
    return bool(writing)


def without_dead_gaps(connection: Connection, *, run_id: str, position: LogPosition) -> LogPosition:
    """Return a position without the missing events that will never come: their writes were rolled back, or deleted.

    To be asked in a new snapshot, once there has been a moment without writers since the position was made: whatever
    was being written when it was made is visible by now, or never will be.
    """
    found = connection.prepared_rows(_VISIBLE_OF_RUN, {"ids": list(position.missing), "run": run_id})
    return LogPosition(last=position.last, missing=tuple(row.id for row in found))


def _position(connection: Connection, *, run_id: str, before: LogPosition, read: int, settled: int = 0) -> LogPosition:
    """Return the position after a page that began at `before` and ended with the event `read`."""
    last = max(before.last, read)
    if last <= settled and not before.missing:
        return LogPosition(last=last)
    visible: set[int] = set()
    if before.missing:
        visible = {row.id for row in connection.prepared_rows(_VISIBLE, {"ids": list(before.missing)})}
    still_missing = [event_id for event_id in before.missing if event_id not in visible or event_id > read]
    begin = before.last
    if not begin and (oldest := connection.prepared_rows(_OLDEST, {"run": run_id})):
        begin = oldest[0].id - _BEFORE_OLDEST
    gaps = _gaps(connection, first=max(begin, last - _LOOK_BACK) + 1, last=last)
    return LogPosition(last=last, missing=tuple([*still_missing, *gaps][-_MOST_MISSING:]))


def _gaps(connection: Connection, *, first: int, last: int) -> list[int]:
    """Return the newest ids from `first` to `last` that are not visible, ascending."""
    if first > last:
        return []
    found = connection.prepared_rows(_GAPS, {"first": first, "last": last, "most": _MOST_MISSING})
    newest_first = (event_id for gap in found for event_id in range(gap.last, gap.first - 1, -1))
    return list(islice(newest_first, _MOST_MISSING))[::-1]


class _Reader:
    """Reads lines of one run that pass a filter."""

    def __init__(self, connection: Connection, *, run_id: str, filter_by: LogFilter) -> None:
        self._connection = connection
        self._filter = filter_by
        self._parameters: dict[str, object] = {"run": run_id}
        conditions = list(self._conditions())
        self._conditions_text = "".join(f" AND ({condition})" for condition in conditions)

    def lines(self, after: LogPosition, *, limit: int) -> tuple[list[LogLine], int, bool]:
        """Return up to `limit` lines, the id of the last event behind them, and whether there are more."""
        lines: list[LogLine] = []
        read = 0
        passing = {level for level, number in LEVELS.items() if number >= LEVELS[self._filter.level]}
        # Most pages ask for nothing but a level, and have a thousand lines.
        only_level = self._filter.node_id is None and self._filter.since is None
        for events in self._events(after, limit=limit):
            told = [line for line in starmap(tell_line, events) if line is not None and line.level in passing]
            lines += told if only_level else filter(self._filter.passes, told)
            if len(lines) > limit:
                return lines[:limit], lines[limit - 1].id, True
            if events:
                read = events[-1][0]
        return lines, read, False

    def newest(self) -> int:
        """Return the id of the run's newest event; 0 if there is none."""
        found = self._connection.prepared_rows(_NEWEST, self._parameters)
        return found[0].id if found else 0

    def _events(self, after: LogPosition, *, limit: int) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Yield the events that may be lines, in parts: first those that were missing, then those behind the last."""
        if after.missing:
            yield self._fetch(_LATE, {"missing": list(after.missing)})
        last, most = after.last, limit + 1
        while True:
            events = self._fetch(_PAGE, {"after": last, "most": most})
            yield events
            if len(events) < most:
                return
            last, most = events[-1][0], max(limit // 10, _FEWEST_AT_ONCE)

    def _fetch(self, statement: str, parameters: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
        text = statement.format(conditions=self._conditions_text)
        return self._connection.prepared_tuples(text, {**self._parameters, **parameters})

    def _conditions(self) -> Iterator[str]:
        if self._filter.level != "debug":
            least = LEVELS[self._filter.level]
            self._parameters["types"] = [name for name, (level, _) in TOLD.items() if LEVELS[level] >= least]
            yield _SERIOUS if least > LEVELS["info"] else _OF_TOLD_TYPES
        if self._filter.since is not None:
            self._parameters["since"] = self._filter.since.astimezone(UTC).replace(tzinfo=None)
            yield _SINCE
        if self._filter.node_id is not None:
            yield self._of_node(self._filter.node_id)

    def _of_node(self, node_id: str) -> str:
        """Return the condition of a node's events: equality with its step, for which there is an index.

        In jobs that were not compiled by us steps may have other names, and a node several of them.
        """
        self._parameters["step"] = encode_name(node_id) if node_id else ""
        if self._connection.prepared_rows(_HAS_STEP, self._parameters):
            return "step_key = %(step)s"
        steps = [row.step_key for row in self._connection.rows(_STEPS, self._parameters)]
        self._parameters["steps"] = [step for step in steps if node_of(step) == node_id]
        return "step_key = ANY(%(steps)s)"
