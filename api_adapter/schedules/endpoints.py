"""The routes of the schedules resource."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response, status

from api_adapter.addresses import NO_NUL
from api_adapter.auth import GuardedRoute, Principal, Scope, annotate, requires
from api_adapter.dependencies import ServicesDependency
from api_adapter.idempotency import IdempotencyKey, location_header, replayed_header
from api_adapter.pagination import DEFAULT_LIMIT, Cursor, Limit
from api_adapter.responses import ALWAYS, DEFAULT, declare, json_response
from api_adapter.schedules import service
from api_adapter.schedules.schemas import (
    FireList,
    ScheduleAnswer,
    ScheduleList,
    ScheduleRunAnswer,
    ScheduleRunRequest,
)

router = APIRouter(
    prefix="/api/schedules", route_class=GuardedRoute, tags=["schedules"], responses={**declare(*ALWAYS), **DEFAULT}
)
_NOT_FOUND = declare(404)
_STARTED: dict[str, Any] = {
    "description": "The run is in the queue.",
    "headers": {**location_header("run"), **replayed_header("run")},
}

Reader = Annotated[Principal, requires(Scope.SCHEDULES_READ)]
Enabler = Annotated[Principal, requires(Scope.SCHEDULES_WRITE, action="schedule.enable")]
Disabler = Annotated[Principal, requires(Scope.SCHEDULES_WRITE, action="schedule.disable")]
Runner = Annotated[Principal, requires(Scope.SCHEDULES_WRITE, action="schedule.run")]
ScheduleIdPath = Annotated[
    str, Path(alias="id", description="Schedule id.", pattern=NO_NUL, examples=["sch_01"], max_length=500)
]


@router.get("", operation_id="listSchedules", response_model=ScheduleList)
def list_schedules(
    services: ServicesDependency,
    *,
    principal: Reader,
    pipeline_id: Annotated[str | None, Query(description="Only schedules of this pipeline.")] = None,
    enabled: Annotated[bool | None, Query(description="Only schedules that are on, or that are off.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the schedules of all pipelines, and when each fires next."""
    return json_response(
        service.list_schedules(
            services, principal=principal, pipeline_id=pipeline_id, enabled=enabled, limit=limit, cursor=cursor
        )
    )


@router.get("/{id}", operation_id="getSchedule", response_model=ScheduleAnswer, responses=_NOT_FOUND)
def get_schedule(
    services: ServicesDependency,
    *,
    principal: Reader,
    schedule_id: ScheduleIdPath,
    preview: Annotated[
        int | None, Query(ge=1, le=100, description="Tell so many of the next fires, in UTC and in the local time.")
    ] = None,
) -> Response:
    """Return a schedule: its cron expression, its policies, whether it is on, and when it fires."""
    return json_response(service.read_schedule(services, principal=principal, schedule_id=schedule_id, preview=preview))


@router.post(
    "/{id}/enable",
    operation_id="enableSchedule",
    response_model=ScheduleAnswer,
    responses=declare(404, 409, s409="The pipeline is not active: its schedules start nothing."),
)
def enable_schedule(services: ServicesDependency, *, principal: Enabler, schedule_id: ScheduleIdPath) -> Response:
    """Turn a schedule on. The switch is Dagster's own, and outlasts changes of the document."""
    return json_response(service.switch_schedule(services, principal=principal, schedule_id=schedule_id, on=True))


@router.post("/{id}/disable", operation_id="disableSchedule", response_model=ScheduleAnswer, responses=_NOT_FOUND)
def disable_schedule(services: ServicesDependency, *, principal: Disabler, schedule_id: ScheduleIdPath) -> Response:
    """Turn a schedule off: it is due no more until it is turned on. Runs that it has started go on."""
    return json_response(service.switch_schedule(services, principal=principal, schedule_id=schedule_id, on=False))


@router.post(
    "/{id}/run",
    operation_id="runSchedule",
    response_model=ScheduleRunAnswer,
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        **declare(
            404,
            409,
            s409="The environment has problems, or the key of the request stands for another one; `details` say which.",
        ),
        202: _STARTED,
    },
)
def run_schedule(
    services: ServicesDependency,
    *,
    principal: Runner,
    http: Request,
    schedule_id: ScheduleIdPath,
    request: ScheduleRunRequest | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Put a run into the queue as a fire at this moment would, whether or not the schedule is on."""
    accepted = service.run_schedule(
        services,
        principal=principal,
        schedule_id=schedule_id,
        request=request or ScheduleRunRequest(),
        key=idempotency_key,
    )
    annotate(http, runId=accepted.answer.data.id, **({"replayed": True} if accepted.replayed else {}))
    return json_response(accepted.answer, status=status.HTTP_202_ACCEPTED, headers=accepted.headers)


@router.get("/{id}/fires", operation_id="listScheduleFires", response_model=FireList, responses=_NOT_FOUND)
def list_fires(
    services: ServicesDependency,
    *,
    principal: Reader,
    schedule_id: ScheduleIdPath,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List what became of the fires of a schedule, newest first: runs, or the reason why there is none."""
    return json_response(
        service.list_fires(services, principal=principal, schedule_id=schedule_id, limit=limit, cursor=cursor)
    )
