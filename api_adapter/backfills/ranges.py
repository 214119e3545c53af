"""Reads of a request which range of time it means, and cuts that into slices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api_adapter.backfills.schemas import MOST_SLICES, BackfillRequest
from api_adapter.backfills.slices import Slice, Step, cut, parse_bound, parse_step, slices_of_fires
from api_adapter.control import fires_around
from api_adapter.errors import Detail, InvalidRequestError
from planasonix_orchestrator.contract.pipelines import PublishedPipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The range of a request for a pipeline, in UTC, its zone, and the slices of it, the earliest first."""

    pipeline_id: str
    start: datetime
    end: datetime
    zone: ZoneInfo
    slices: Sequence[Slice]


def cut_range(request: BackfillRequest, *, pipeline: PublishedPipeline) -> Range:
    """Return the range of a request and its slices; `InvalidRequestError` names all fields that are wrong."""
    schedule = find_schedule(request, pipeline=pipeline)
    zone = _zone(request.timezone or schedule.get("timezone") or "UTC")
    start, end, step = _read(request, zone=zone)
    try:
        if schedule:
            cron, timezone = schedule["cronExpression"], schedule["timezone"]
            slices = slices_of_fires(fires_around(cron, timezone=timezone, start=start, end=end, most=MOST_SLICES))
        else:
            slices = cut(start, end, step=step, zone=zone, most=MOST_SLICES)
    except (ValueError, OverflowError) as error:  # past the years that there are
        raise InvalidRequestError.of_field("to", "lies beyond the calendar") from error
    if len(slices) > MOST_SLICES:
        raise InvalidRequestError.of_field("to", f"makes more than {MOST_SLICES:,} slices: take a shorter range")
    if not slices:
        raise InvalidRequestError.of_field("scheduleId", "does not fire in this range")
    return Range(pipeline_id=pipeline["id"], start=start, end=end, zone=zone, slices=slices)


def find_schedule(request: BackfillRequest, *, pipeline: PublishedPipeline) -> Mapping[str, Any]:
    """Return the schedule that the request names; empty if it names none. `InvalidRequestError` if there is no such."""
    if request.schedule_id is None:
        return {}
    schedules = {each["id"]: each for each in pipeline["document"].get("schedules", ())}
    if request.schedule_id not in schedules:
        known = ", ".join(schedules) or "none"
        raise InvalidRequestError.of_field("scheduleId", f"is no schedule of the pipeline (known: {known})")
    found: Mapping[str, Any] = schedules[request.schedule_id]
    return found


def _read(request: BackfillRequest, *, zone: ZoneInfo) -> tuple[datetime, datetime, Step]:
    problems: list[Detail] = []
    start, end = (
        _bound(field, text, zone=zone, problems=problems)
        for field, text in (("from", request.start), ("to", request.end))
    )
    step = _step(request, problems=problems)
    if request.schedule_id is not None and request.step is not None:
        problems.append(Detail("step", "can't be combined with scheduleId"))
    if start and end and start >= end:
        problems.append(Detail("to", "ends before it begins"))
    if start is None or end is None or step is None or problems:
        raise InvalidRequestError("; ".join(f"{one.field}: {one.issue}" for one in problems), details=problems)
    return start, end, step


def _bound(field: str, text: str, *, zone: ZoneInfo, problems: list[Detail]) -> datetime | None:
    try:
        return parse_bound(text, zone=zone, is_end=field == "to")
    except (ValueError, OverflowError):
        expected = "must be a date such as 2025-03-31 or a timestamp such as 2025-03-31T14:00:00Z"
        problems.append(Detail(field, f"{expected}, not {text!r}"))
        return None


def _step(request: BackfillRequest, *, problems: list[Detail]) -> Step | None:
    try:
        return parse_step(request.step or "day")
    except ValueError as error:
        problems.append(Detail("step", str(error)))
        return None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        issue = f"must be an IANA time zone such as Europe/Berlin, not {name!r}"
        raise InvalidRequestError.of_field("timezone", issue) from error
