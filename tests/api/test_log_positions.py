"""Positions in a log: whatever the order in which events become visible, each line comes once, from any cursor on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_adapter.errors import InvalidRequestError
from api_adapter.logs.cursor import decode_log_cursor, encode_log_cursor
from api_adapter.logs.hub import Batch
from api_adapter.logs.writing import write_events
from api_adapter.storage import LogFilter, LogLine, LogPage, LogPosition

RUN = "run_5xs492r4ha9148hsddpqeqs3vr"
UP_TO = 12

positions = st.builds(
    lambda last, missing: LogPosition(last=last, missing=tuple(sorted(one for one in missing if one <= last))),
    st.integers(0, UP_TO),
    st.frozensets(st.integers(1, UP_TO), max_size=6),
)


def read_by(position: LogPosition) -> set[int]:
    return {event_id for event_id in range(1, UP_TO + 1) if event_id in position}


@given(positions, positions)
def test_two_positions_add_up_to_what_either_has_read(one: LogPosition, other: LogPosition) -> None:
    """The sum of two positions has read what is in either, and nothing else."""
    assert read_by(one | other) == read_by(one) | read_by(other)
    assert (one | other).last == max(one.last, other.last)


@given(positions, st.integers(0, UP_TO))
def test_a_position_can_be_cut(position: LogPosition, event_id: int) -> None:
    """Up to an id, a position has read what it has read so far."""
    assert read_by(position.up_to(event_id)) == {one for one in read_by(position) if one <= event_id}


@given(positions)
def test_a_cursor_leads_back_to_its_position(position: LogPosition) -> None:
    """What goes out as a cursor comes in as the same position."""
    cursor = encode_log_cursor(position, run_id=RUN)
    assert cursor.startswith("crs_5xs492r4ha9148hsddpqeqs3vr_")
    assert decode_log_cursor(cursor, run_id=RUN, field="since") in (
        position,
        # An id that is the last one of its position and missing at once says as much as the one before it.
        LogPosition(last=position.last, missing=position.missing[:-1]),
    )


@pytest.mark.parametrize(
    "text", ["crs_", "crs_x_12", "crs_x_0042", f"crs_{RUN}_0042", "crs_5xs492r4ha9148hsddpqeqs3vr_42"]
)
def test_a_cursor_of_something_else_is_refused(text: str) -> None:
    """A cursor belongs to one run, and is written in one way."""
    with pytest.raises(InvalidRequestError):
        decode_log_cursor(text, run_id=RUN, field="since")


@dataclass
class Log:
    """A log whose events become visible in any order: of our run those in `mine`, others of other runs."""

    mine: frozenset[int]
    visible: set[int] = field(default_factory=set)

    def read(self, after: LogPosition, *, limit: int) -> LogPage:
        """A page as storage reads it."""
        new = sorted(one for one in self.visible & self.mine if one not in after)
        told, more = new[:limit], len(new) > limit
        read = told[-1] if more else max(self.visible & self.mine, default=0)
        last = max(after.last, read)
        open_ids = {one for one in after.missing if one not in self.visible or one > read}
        gaps = {one for one in range(after.last + 1, last + 1) if one not in self.visible}
        return LogPage(
            lines=[line(event_id) for event_id in told],
            before=after,
            after=LogPosition(last=last, missing=tuple(sorted(open_ids | gaps))),
            more=more,
            status="running",
        )

    def rest(self, after: LogPosition, *, limit: int) -> Iterator[int]:
        """All that follows a position, page after page."""
        while True:
            page = self.read(after, limit=limit)
            yield from (told.id for told in page.lines)
            after = page.after
            if not page.more:
                return


def line(event_id: int) -> LogLine:
    return LogLine(event_id, float(event_id), "info", None, str(event_id))


@dataclass
class Stream:
    """What a follower was sent: the ids of the events that its lines tell, and the cursor of each."""

    sent: list[tuple[int, LogPosition]] = field(default_factory=list)

    def take(self, events: bytes) -> None:
        for event in events.decode().split("\n\n")[:-1]:
            cursor, data = event.split("\n")
            position = decode_log_cursor(cursor.removeprefix("id: "), run_id=RUN, field="since")
            self.sent.append((int(data.rpartition(':"')[2].removesuffix('"}')), position))


@st.composite
def logs(draw: st.DrawFn) -> tuple[Log, list[int]]:
    """A log, and the order in which its events become visible; of those left out, the write was rolled back."""
    size = draw(st.integers(1, 14))
    order = draw(st.permutations(range(1, size + 1)))
    kept = order[: draw(st.integers(0, size))]
    return Log(draw(st.frozensets(st.integers(1, size)))), list(kept)


@given(logs(), st.lists(st.tuples(st.sampled_from(["commit", "read"]), st.integers(1, 4)), max_size=30))
def test_pages_tell_each_line_once(log_and_order: tuple[Log, list[int]], steps: list[tuple[str, int]]) -> None:
    """While events become visible in any order, pages of any size tell each line once, and none twice."""
    log, order = log_and_order
    told: list[int] = []
    after = LogPosition()
    for action, number in [*steps, *[("commit", 1)] * len(order), *[("read", 3)] * (len(order) + 1)]:
        if action == "commit":
            log.visible |= {order.pop(0) for _ in range(min(number, len(order)))}
        else:
            page = log.read(after, limit=number)
            told += [one.id for one in page.lines]
            after = page.after
    assert sorted(told) == sorted(log.visible & log.mine)


ACTIONS = st.lists(st.tuples(st.sampled_from(["commit", "poll", "read", "take"]), st.integers(1, 4)), max_size=40)


@given(logs(), st.integers(0, 5), ACTIONS)
def test_followers_get_each_line_once_and_every_cursor_leads_to_the_rest(
    log_and_order: tuple[Log, list[int]], before: int, steps: Sequence[tuple[str, int]]
) -> None:
    """A follower that subscribes, reads history and then takes what the hub gives out misses and doubles nothing."""
    log, order = log_and_order
    log.visible |= {order.pop(0) for _ in range(min(before, len(order)))}
    hub = log.read(LogPosition(), limit=100).after
    given_out: list[Batch] = []
    stream, position, catching_up = Stream(), LogPosition(), True
    ending = [*[("commit", 1)] * len(order), *[("read", 2)] * 15, *[("poll", 3)] * 15, *[("take", 1)] * 60]
    for action, number in [*steps, *ending]:
        if action == "commit":
            log.visible |= {order.pop(0) for _ in range(min(number, len(order)))}
        elif action == "poll":
            page = log.read(hub, limit=number)
            hub = page.after
            given_out.append(Batch(page, run_id=RUN))
        elif action == "read" and catching_up:
            page = log.read(position, limit=number)
            stream.take(b"".join(write_events(page, run_id=RUN)))
            position, catching_up = page.after, page.more
        elif action == "take" and given_out and not catching_up:
            batch = given_out.pop(0)
            stream.take(batch.events_for(position, filter_by=LogFilter()))
            position = batch.position_after(position)
    everything = log.visible & log.mine
    told = [event_id for event_id, _ in stream.sent]
    assert sorted(told) == sorted(everything)
    for number, (_, cursor) in enumerate(stream.sent, start=1):
        assert sorted(log.rest(cursor, limit=3)) == sorted(everything - set(told[:number]))
