"""Makes backfills and tells how far they have come."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from api_adapter.auth import Principal
from api_adapter.backfills.errors import BackfillFinishedError, BackfillNotFoundError
from api_adapter.backfills.ranges import Range, cut_range, find_schedule
from api_adapter.backfills.schemas import (
    Backfill,
    BackfillAction,
    BackfillList,
    BackfillPlan,
    BackfillProgress,
    BackfillRequest,
    BackfillSlice,
    BackfillStatus,
    PlannedSlice,
    SliceList,
)
from api_adapter.backfills.slices import Slice
from api_adapter.control import Idempotency, RunOrder
from api_adapter.dependencies import Services
from api_adapter.errors import PipelineNotFoundError, RetryUnderWayError
from api_adapter.pagination import PageMeta, decode_cursor, encode_cursor
from api_adapter.run_actions.schemas import RetryRequest
from api_adapter.run_actions.service import retry_run
from api_adapter.storage import BackfillRecord, SliceRecord, backfill_tag
from api_adapter.timestamps import format_timestamp
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import encode_backfill_id
from planasonix_orchestrator.contract.pipelines import PublishedPipeline
from planasonix_orchestrator.contract.slices import fill_slice, slice_tags, slice_values
from planasonix_orchestrator.contract.starting import backfill_uuid_of_key, hash_request, run_id_of_slice


def plan_backfill(
    services: Services, *, principal: Principal, pipeline_id: str, request: BackfillRequest
) -> BackfillPlan:
    """Return what the request would run."""
    pipeline = _pipeline(services, principal=principal, pipeline_id=pipeline_id)
    range_ = cut_range(request, pipeline=pipeline)
    slices = [
        PlannedSlice(scheduled_at=one.start, end=one.end, ds=_tags(one, zone=range_.zone)[tag_names.DS])
        for one in _ordered(range_.slices, request)
    ]
    return BackfillPlan(pipeline_id=pipeline_id, total=len(slices), slices=slices)


def start_backfill(
    services: Services, *, principal: Principal, pipeline_id: str, request: BackfillRequest, key: str | None
) -> tuple[Backfill, bool]:
    """Queue a run for each slice, all of them or none; true if an earlier request of the same key has done so."""
    pipeline = _pipeline(services, principal=principal, pipeline_id=pipeline_id)
    range_ = cut_range(request, pipeline=pipeline)
    schedule = find_schedule(request, pipeline=pipeline)
    uuid = backfill_uuid_of_key(pipeline_id, key) if key is not None else str(uuid4())
    backfill_id = encode_backfill_id(uuid)
    now = services.clock()
    asked = request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    common = RunOrder(
        pipeline_id=pipeline_id,
        variables={},
        environment_id=request.environment_id or schedule.get("environmentId"),
        nodes=None,
        priority=request.priority,
        trigger="backfill",
        user=principal.name,
        idempotency=Idempotency(key=key, request_hash=hash_request(asked)) if key is not None else None,
    )
    tags = {
        tag_names.BACKFILL_ID: backfill_id,
        tag_names.BACKFILL: backfill_tag(
            backfill_id, created_at=format_timestamp(now), asked=_asked(request, range_, principal=principal)
        ),
        **_limit(backfill_id, request),
    }
    orders = {}
    for number, one in enumerate(_ordered(range_.slices, request)):
        of_slice = _tags(one, zone=range_.zone)
        values = slice_values(of_slice) or {}
        scheduled = {name: fill_slice(value, values=values) for name, value in schedule.get("variables", {}).items()}
        orders[run_id_of_slice(backfill_id, number)] = replace(
            common, variables={**scheduled, **request.variables}, tags={**tags, **of_slice}
        )
    replayed = services.control.start_all(orders, at=now)
    return read_backfill(services, principal=principal, backfill_id=backfill_id), replayed


def list_backfills(
    services: Services, *, principal: Principal, pipeline_id: str | None, limit: int, cursor: str | None
) -> BackfillList:
    """Return a page of the backfills that the caller may see, newest first."""
    scope = ("backfills", pipeline_id)
    below = decode_cursor(cursor, scope=scope, kind=str) if cursor else None
    found = services.storage.list_backfills(
        visible=principal.pipelines, pipeline_id=pipeline_id, limit=limit + 1, below=below
    )
    page = found[:limit]
    following = encode_cursor(page[-1].position, scope=scope) if len(found) > limit else None
    data = [_tell(record, services.storage.read_slices(record.id)) for record in page]
    return BackfillList(data=data, meta=PageMeta(cursor=following))


def read_backfill(services: Services, *, principal: Principal, backfill_id: str) -> Backfill:
    """Return a backfill and how far it has come."""
    record, slices = _find(services, principal=principal, backfill_id=backfill_id)
    return _tell(record, slices)


def list_slices(
    services: Services,
    *,
    principal: Principal,
    backfill_id: str,
    status: Sequence[str],
    limit: int,
    cursor: str | None,
) -> SliceList:
    """Return a page of a backfill's slices, the earliest first, those whose newest run is in one of these states."""
    _, slices = _find(services, principal=principal, backfill_id=backfill_id)
    scope = ("slices", backfill_id, *sorted(status))
    after = decode_cursor(cursor, scope=scope, kind=str) if cursor else ""
    found = [one for one in slices if one.scheduled_at > after and (not status or one.status in status)]
    page = found[:limit]
    following = encode_cursor(page[-1].scheduled_at, scope=scope) if len(found) > limit else None
    data = [
        BackfillSlice(
            scheduled_at=datetime.fromisoformat(one.scheduled_at),
            run_id=one.run_id,
            status=one.status,
            attempts=one.attempts,
        )
        for one in page
    ]
    return SliceList(data=data, meta=PageMeta(cursor=following))


def cancel_backfill(services: Services, *, principal: Principal, backfill_id: str) -> BackfillAction:
    """Ask that all runs be canceled that have not ended; `BackfillFinishedError` if there are none."""
    record, slices = _find(services, principal=principal, backfill_id=backfill_id)
    # Those that wait first: else each that is stopped would make room for one of them.
    waiting = sorted(
        (one for one in slices if one.status in {"queued", "running"}), key=lambda one: one.status == "running"
    )
    outcomes: Mapping[str, str] = {}
    if waiting:
        ids = [one.dagster_id for one in waiting]
        outcomes = services.control.cancel_many(ids, user=principal.name, at=services.clock())
    runs = [one.run_id for one in waiting if outcomes[one.dagster_id] == "requested"]
    if not runs:
        raise BackfillFinishedError(record.id, status=_tell(record, slices).status, left="queued or running")
    return BackfillAction(id=record.id, status="cancel_requested", runs=runs)


def retry_backfill(services: Services, *, principal: Principal, backfill_id: str) -> BackfillAction:
    """Retry the slices whose newest run has failed or was canceled, and no others; each from its failure."""
    record, slices = _find(services, principal=principal, backfill_id=backfill_id)
    runs = []
    for one in slices:
        if one.status in {"failed", "canceled"}:
            try:
                accepted = retry_run(services, principal=principal, run_id=one.run_id, request=RetryRequest(), key=None)
            except RetryUnderWayError:  # somebody else retries it otherwise
                continue
            runs.append(accepted.run.run_id)
    if not runs:
        raise BackfillFinishedError(record.id, status=_tell(record, slices).status, left="failed or canceled")
    return BackfillAction(id=record.id, status="retry_requested", runs=runs)


def _pipeline(services: Services, *, principal: Principal, pipeline_id: str) -> PublishedPipeline:
    if not principal.may_see(pipeline_id):
        raise PipelineNotFoundError(pipeline_id)
    return services.control.catalog().get(pipeline_id)


def _find(
    services: Services, *, principal: Principal, backfill_id: str
) -> tuple[BackfillRecord, Sequence[SliceRecord]]:
    found = services.storage.read_backfill(backfill_id) if "\0" not in backfill_id else None
    if found is None or not principal.may_see(found[0].pipeline_id):
        raise BackfillNotFoundError(backfill_id)
    return found


def _ordered(slices: Sequence[Slice], request: BackfillRequest) -> Sequence[Slice]:
    return slices if request.order == "ascending" else slices[::-1]


def _tags(one: Slice, *, zone: ZoneInfo) -> dict[str, str]:
    return slice_tags(one.start, previous=one.before, following=one.end, timezone=zone.key)


def _asked(request: BackfillRequest, range_: Range, *, principal: Principal) -> dict[str, Any]:
    return {
        "pipelineId": range_.pipeline_id,
        "from": format_timestamp(range_.start),
        "to": format_timestamp(range_.end),
        "step": None if request.schedule_id else request.step or "day",
        "scheduleId": request.schedule_id,
        "timezone": range_.zone.key,
        "order": request.order,
        "maxConcurrentRuns": request.max_concurrent_runs,
        "total": len(range_.slices),
        "createdBy": principal.name,
    }


def _limit(backfill_id: str, request: BackfillRequest) -> dict[str, str]:
    most = request.max_concurrent_runs
    return {} if most is None else {tag_names.LIMITED_BY: f"{backfill_id} {most}"}


def _tell(record: BackfillRecord, slices: Sequence[SliceRecord]) -> Backfill:
    counts: Counter[str] = Counter(one.status for one in slices)
    total = max(int(record.asked["total"]), len(slices))
    progress = BackfillProgress(
        total=total,
        done=counts["succeeded"],
        failed=counts["failed"],
        canceled=counts["canceled"],
        running=counts["running"],
        remaining=counts["queued"],
    )
    return Backfill(
        id=record.id,
        pipeline_id=record.pipeline_id,
        status=_status(counts),
        progress=progress,
        start=record.asked["from"],
        end=record.asked["to"],
        step=record.asked["step"],
        schedule_id=record.asked["scheduleId"],
        timezone=record.asked["timezone"],
        order=record.asked["order"],
        max_concurrent_runs=record.asked["maxConcurrentRuns"],
        created_at=record.created_at,
        created_by=record.asked["createdBy"],
    )


def _status(counts: Mapping[str, int]) -> BackfillStatus:
    if counts["queued"] or counts["running"]:
        return "running"
    if counts["failed"]:
        return "failed"
    return "canceled" if counts["canceled"] else "succeeded"
