"""Tells schedules and their fires in the API's words, switches them, and runs them now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from api_adapter.auth import Principal, Scope
from api_adapter.auth.errors import ForbiddenError
from api_adapter.control import Idempotency, RunOrder, Switch, fire_before, next_fires
from api_adapter.dependencies import Services
from api_adapter.idempotency import tell_replay
from api_adapter.pagination import ListMeta, ListPage, decode_cursor, encode_cursor
from api_adapter.schedules.errors import ScheduleInactiveError, ScheduleNotFoundError
from api_adapter.schedules.finding import FoundSchedule, find_schedule, find_schedules
from api_adapter.schedules.schemas import (
    FireAttributes,
    FireList,
    FireResource,
    NextFire,
    ScheduleAnswer,
    ScheduleAttributes,
    ScheduleDetail,
    ScheduleDetailAttributes,
    ScheduleList,
    ScheduleResource,
    ScheduleRun,
    ScheduleRunAnswer,
    ScheduleRunAttributes,
    ScheduleRunRequest,
)
from api_adapter.storage import FireRecord
from api_adapter.timestamps import format_timestamp
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.contract.slices import fill_slice, slice_tags, slice_values
from planasonix_orchestrator.contract.starting import hash_request
from planasonix_orchestrator.contract.values import VariableValue, parse_value


def list_schedules(
    services: Services,
    *,
    principal: Principal,
    pipeline_id: str | None,
    enabled: bool | None,
    limit: int,
    cursor: str | None,
) -> ScheduleList:
    """Return a page of the schedules that the caller may see, by their ids."""
    scope = ("schedules", pipeline_id, enabled)
    after = decode_cursor(cursor, scope=scope, kind=str) if cursor is not None else ""
    found = {
        each.id: each
        for each in find_schedules(services.control.catalog(), principal=principal)
        if each.id > after and pipeline_id in {None, each.pipeline["id"]}
    }
    switches = services.control.switches.read("schedule", list(found))
    ids = sorted(id_ for id_ in found if enabled in {None, _is_on(switches.get(id_))})
    page = ids[:limit]
    last_runs = _last_runs(services, [switches[id_] for id_ in page if id_ in switches])
    now = services.clock()
    return ScheduleList(
        data=[
            ScheduleResource(
                id=id_,
                attributes=ScheduleAttributes.model_validate(
                    _attributes(found[id_], switches.get(id_), last_runs=last_runs, now=now)
                ),
            )
            for id_ in page
        ],
        meta=_paging(limit, encode_cursor(page[-1], scope=scope) if len(ids) > limit else None),
    )


def read_schedule(services: Services, *, principal: Principal, schedule_id: str, preview: int | None) -> ScheduleAnswer:
    """Return a schedule, with so many of its next fires."""
    found = find_schedule(services.control.catalog(), principal=principal, schedule_id=schedule_id)
    switch = services.control.switches.read("schedule", [schedule_id]).get(schedule_id)
    return _answer(services, found, switch, preview=preview)


def switch_schedule(services: Services, *, principal: Principal, schedule_id: str, on: bool) -> ScheduleAnswer:
    """Turn a schedule on or off; `ScheduleInactiveError` if it would start nothing all the same."""
    found = find_schedule(services.control.catalog(), principal=principal, schedule_id=schedule_id)
    if on and found.pipeline_status != "active":
        raise ScheduleInactiveError(schedule_id, status=found.pipeline_status)
    switch = services.control.switches.switch("schedule", schedule_id, on=on)
    if switch is None:  # it was reloaded just now
        raise ScheduleNotFoundError(schedule_id)
    return _answer(services, found, switch, preview=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedRun:
    """A run that was put into the queue, now or (`replayed`) by an earlier request."""

    answer: ScheduleRunAnswer
    replayed: bool

    @property
    def headers(self) -> Mapping[str, str]:
        """What the headers of the answer say of it."""
        return {"Location": f"/api/runs/{self.answer.data.id}", **tell_replay(replayed=self.replayed)}


def run_schedule(
    services: Services, *, principal: Principal, schedule_id: str, request: ScheduleRunRequest, key: str | None
) -> AcceptedRun:
    """Queue a run as a fire at this moment would start it, whatever goes on; with a key, the run that it stands for."""
    if not principal.has(Scope.PIPELINES_RUN):
        raise ForbiddenError.of_scope(Scope.PIPELINES_RUN)
    found = find_schedule(services.control.catalog(), principal=principal, schedule_id=schedule_id)
    now = services.clock()
    of_slice = _slice_at(found, now)
    asked = {"scheduleId": schedule_id, **request.model_dump(mode="json", exclude_defaults=True)}
    order = RunOrder(
        pipeline_id=found.pipeline["id"],
        variables={**_variables(found, of_slice), **request.variables},
        environment_id=found.said["environmentId"],
        nodes=None,
        priority=None,
        trigger="schedule_manual",
        user=principal.name,
        idempotency=Idempotency(key=key, request_hash=hash_request(asked)) if key is not None else None,
        tags={
            tag_names.SCHEDULE_ID: schedule_id,
            **of_slice,
            **({tag_names.LIMITED_BY: f"{schedule_id} 1"} if found.said["overlap"] == "queue" else {}),
        },
    )
    started = services.control.start(order, at=now)
    known = services.storage.read_statuses([started.dagster_id]) if started.replayed else {}
    attributes = ScheduleRunAttributes(
        pipeline_id=found.pipeline["id"],
        schedule_id=schedule_id,
        status=known.get(started.dagster_id, "queued"),
        created_at=started.queued_at,
    )
    run = ScheduleRun(id=encode_run_id(started.dagster_id), attributes=attributes)
    return AcceptedRun(answer=ScheduleRunAnswer(data=run), replayed=started.replayed)


def list_fires(
    services: Services, *, principal: Principal, schedule_id: str, limit: int, cursor: str | None
) -> FireList:
    """Return a page of what became of a schedule's fires, newest first."""
    find_schedule(services.control.catalog(), principal=principal, schedule_id=schedule_id)
    scope = ("fires", schedule_id)
    below = decode_cursor(cursor, scope=scope) if cursor is not None else None
    switch = services.control.switches.read("schedule", [schedule_id]).get(schedule_id)
    if switch is None:
        return FireList(data=[], meta=_paging(limit, None))
    fires, following = services.storage.list_fires(switch.selector_id, limit=limit, below=below)
    return FireList(
        data=[_fire(fire, schedule_id=schedule_id) for fire in fires],
        meta=_paging(limit, encode_cursor(following, scope=scope) if following is not None else None),
    )


def _answer(services: Services, found: FoundSchedule, switch: Switch | None, *, preview: int | None) -> ScheduleAnswer:
    now = services.clock()
    last_runs = _last_runs(services, [switch] if switch else [])
    attributes = _attributes(found, switch, last_runs=last_runs, now=now)
    if preview is not None:
        fires = next_fires(found.cron, timezone=found.timezone, after=now, number=preview)
        zone = ZoneInfo(found.timezone)
        attributes["preview"] = [NextFire(at=fire, local=fire.astimezone(zone)) for fire in fires]
    detail = ScheduleDetail(id=found.id, attributes=ScheduleDetailAttributes.model_validate(attributes))
    return ScheduleAnswer(data=detail)


def _attributes(
    found: FoundSchedule, switch: Switch | None, *, last_runs: Mapping[str, datetime], now: datetime
) -> dict[str, Any]:
    on = _is_on(switch)
    fires = on and found.pipeline_status == "active"
    return {
        "name": found.said["name"],
        "pipeline_id": found.pipeline["id"],
        "cron_expression": found.cron,
        "timezone": found.timezone,
        "enabled": on,
        "overlap": found.said["overlap"],
        "catch_up": found.said["catchUp"],
        "catch_up_limit": found.said["catchUpLimit"],
        "deadline_seconds": found.said["deadlineSeconds"],
        "environment_id": found.said["environmentId"],
        "variables": found.said["variables"],
        "next_run_at": next_fires(found.cron, timezone=found.timezone, after=now, number=1)[0] if fires else None,
        "last_run_at": last_runs.get(switch.selector_id) if switch else None,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
    }


def _is_on(switch: Switch | None) -> bool:
    return switch is not None and switch.enabled


def _last_runs(services: Services, switches: Sequence[Switch]) -> Mapping[str, datetime]:
    """Return when a fire last started a run, by the key of the schedule in Dagster's record."""
    return services.storage.last_fired_runs([switch.selector_id for switch in switches]) if switches else {}


def _slice_at(found: FoundSchedule, now: datetime) -> Mapping[str, str]:
    """Return the tags of a slice that begins now, between the fires around it."""
    (following,) = next_fires(found.cron, timezone=found.timezone, after=now, number=1)
    previous = fire_before(found.cron, timezone=found.timezone, moment=now)
    return slice_tags(now, previous=previous, following=following, timezone=found.timezone)


def _variables(found: FoundSchedule, of_slice: Mapping[str, str]) -> Mapping[str, VariableValue]:
    """Return the values that the schedule sets, as the variables are typed."""
    values = slice_values(of_slice) or {}
    declared = found.pipeline["document"].get("variables") or {}
    return {
        name: parse_value(fill_slice(value, values=values), type_name=declared[name].get("type") or "string")
        for name, value in found.said["variables"].items()
        if name in declared
    }


def _fire(fire: FireRecord, *, schedule_id: str) -> FireResource:
    attributes = FireAttributes(
        schedule_id=schedule_id,
        due_at=fire.due_at,
        status=fire.status,
        reason=fire.reason,
        run_ids=list(fire.run_ids),
    )
    return FireResource(id=format_timestamp(fire.due_at), attributes=attributes)


def _paging(limit: int, cursor: str | None) -> ListMeta:
    return ListMeta(page=ListPage(limit=limit, cursor=cursor))
