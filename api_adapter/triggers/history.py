"""What a trigger has done, in the order of time: the runs that it has started, and the evaluations that have failed.

Both are in Dagster's record, in tables of their own: a page is merged of the newest of each.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import islice

from api_adapter.control import Evaluation
from api_adapter.dependencies import Services
from api_adapter.errors import InvalidRequestError
from api_adapter.storage import RunStatus, TriggerExecution
from api_adapter.triggers.schemas import ExecutionAttributes, ExecutionResource
from planasonix_orchestrator.contract.ids import RUN_PREFIX

_PREFIX = "tex_"
_EVALUATION_PREFIX = f"{_PREFIX}eval_"  # which no run's id begins with, as its letters have no "l"
_LONGEST_SUMMARY = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLACE = re.compile(r"([0-9]{0,18}),([0-9]{0,17})", re.ASCII)  # all of which Postgres and Python can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a history: under which position runs come next, and before which moment failures do; None: the top."""

    below: int | None = None
    before: datetime | None = None

    def __str__(self) -> str:
        microseconds = None if self.before is None else (self.before - _EPOCH) // _MICROSECOND
        return f"{self.below or ''},{'' if microseconds is None else microseconds}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that this is the text of; `InvalidRequestError` if it is of none."""
        match = _PLACE.fullmatch(text)
        if match is None:
            raise InvalidRequestError.of_field("cursor", "is not a cursor of this list; use that of the page before")
        below, before = match.groups()
        return cls(below=int(below) if below else None, before=_EPOCH + int(before) * _MICROSECOND if before else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that a trigger has done, in the API's words, and the place behind it."""

    told: ExecutionResource
    place: Place


def read_history(
    services: Services, *, trigger_id: str, status: RunStatus | None, limit: int, place: Place
) -> Sequence[Entry]:
    """Return at most `limit` things that a trigger has done, newest first, from a place on."""
    runs = services.storage.list_executions(trigger_id, status=status, limit=limit, below=place.below)
    failures: Sequence[Evaluation] = ()
    if status in {None, "failed"}:
        switches = services.control.switches
        failures = switches.failed_evaluations("trigger", trigger_id, limit=limit, before=place.before)
    return list(islice(_merged(runs, failures, trigger_id=trigger_id, place=place), limit))


def _merged(
    runs: Sequence[TriggerExecution], failures: Sequence[Evaluation], *, trigger_id: str, place: Place
) -> Iterator[Entry]:
    moments: Iterator[tuple[datetime, TriggerExecution | Evaluation]] = merge(
        ((run.started_at, run) for run in runs),
        ((failure.at, failure) for failure in failures),
        key=lambda one: one[0],
        reverse=True,
    )
    for _, one in moments:
        if isinstance(one, Evaluation):
            place = Place(below=place.below, before=one.at)
            yield Entry(told=_told_failure(one, trigger_id=trigger_id), place=place)
        else:
            place = Place(below=one.position, before=place.before)
            yield Entry(told=_told_run(one, trigger_id=trigger_id), place=place)


def _told_run(run: TriggerExecution, *, trigger_id: str) -> ExecutionResource:
    return ExecutionResource(
        id=_PREFIX + run.run_id.removeprefix(RUN_PREFIX),
        attributes=ExecutionAttributes(
            trigger_id=trigger_id,
            pipeline_run_id=run.run_id,
            status=run.status,
            event_summary=run.event_summary,
            started_at=run.started_at,
            finished_at=run.finished_at,
        ),
    )


def _told_failure(failure: Evaluation, *, trigger_id: str) -> ExecutionResource:
    return ExecutionResource(
        id=f"{_EVALUATION_PREFIX}{failure.id}",
        attributes=ExecutionAttributes(
            trigger_id=trigger_id,
            pipeline_run_id=None,
            status="failed",
            event_summary=failure.reason[:_LONGEST_SUMMARY] if failure.reason else None,
            started_at=failure.at,
            finished_at=failure.ended_at,
        ),
    )
