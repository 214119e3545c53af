"""The routes of the triggers resource."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api_adapter.addresses import NO_NUL
from api_adapter.auth import GuardedRoute, Principal, Scope, requires
from api_adapter.dependencies import ServicesDependency
from api_adapter.pagination import DEFAULT_LIMIT, Cursor, Limit
from api_adapter.responses import ALWAYS, DEFAULT, declare, json_response
from api_adapter.storage import RunStatus
from api_adapter.triggers import service
from api_adapter.triggers.schemas import (
    ExecutionList,
    TriggerAnswer,
    TriggerList,
    TriggerTestAnswer,
    TriggerTestRequest,
    TriggerType,
)

router = APIRouter(
    prefix="/api/triggers", route_class=GuardedRoute, tags=["triggers"], responses={**declare(*ALWAYS), **DEFAULT}
)
_NOT_FOUND = declare(404)
_SWITCHED = declare(404, 409, s409="Dagster has no sensor of the trigger.")
_EXECUTIONS_LIMIT = 25

Reader = Annotated[Principal, requires(Scope.SCHEDULES_READ)]
Enabler = Annotated[Principal, requires(Scope.SCHEDULES_WRITE, action="trigger.enable")]
Disabler = Annotated[Principal, requires(Scope.SCHEDULES_WRITE, action="trigger.disable")]
Tester = Annotated[Principal, requires(Scope.SCHEDULES_WRITE, action="trigger.test")]
TriggerIdPath = Annotated[
    str, Path(alias="id", description="Trigger id.", pattern=NO_NUL, examples=["trg_orders"], max_length=500)
]
TypeQuery = Annotated[TriggerType | None, Query(description="Only triggers of this kind.")]
EnabledQuery = Annotated[bool | None, Query(description="Only triggers that are enabled, or that are not.")]


@router.get("", operation_id="listTriggers", response_model=TriggerList)
def list_triggers(
    services: ServicesDependency,
    *,
    principal: Reader,
    pipeline_id: Annotated[str | None, Query(description="Only triggers of this pipeline.")] = None,
    trigger_type: TypeQuery = None,
    enabled: EnabledQuery = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List what starts pipelines besides schedules and callers: webhooks, arrivals of files, other pipelines."""
    return json_response(
        service.list_triggers(
            services,
            principal=principal,
            pipeline_id=pipeline_id,
            trigger_type=trigger_type,
            enabled=enabled,
            limit=limit,
            cursor=cursor,
        )
    )


@router.get("/{id}", operation_id="getTrigger", response_model=TriggerAnswer, responses=_NOT_FOUND)
def get_trigger(services: ServicesDependency, *, principal: Reader, trigger_id: TriggerIdPath) -> Response:
    """Return a trigger: its kind, its pipeline, whether it is enabled, and its config."""
    return json_response(service.read_trigger(services, principal=principal, trigger_id=trigger_id))


@router.post("/{id}/enable", operation_id="enableTrigger", response_model=TriggerAnswer, responses=_SWITCHED)
def enable_trigger(services: ServicesDependency, *, principal: Enabler, trigger_id: TriggerIdPath) -> Response:
    """Turn a trigger on. The switch is Dagster's own, and outlasts changes of the document."""
    return json_response(service.switch_trigger(services, principal=principal, trigger_id=trigger_id, on=True))


@router.post("/{id}/disable", operation_id="disableTrigger", response_model=TriggerAnswer, responses=_SWITCHED)
def disable_trigger(services: ServicesDependency, *, principal: Disabler, trigger_id: TriggerIdPath) -> Response:
    """Turn a trigger off. Runs that it has started go on."""
    return json_response(service.switch_trigger(services, principal=principal, trigger_id=trigger_id, on=False))


@router.post("/{id}/test", operation_id="testTrigger", response_model=TriggerTestAnswer, responses=_NOT_FOUND)
def try_trigger(
    services: ServicesDependency,
    *,
    principal: Tester,
    trigger_id: TriggerIdPath,
    request: TriggerTestRequest | None = None,
) -> Response:
    """Find out whether a trigger can do its work. Nothing is started, and nothing is remembered of it."""
    return json_response(
        service.try_trigger(
            services, principal=principal, trigger_id=trigger_id, request=request or TriggerTestRequest()
        )
    )


@router.get(
    "/{id}/executions", operation_id="listTriggerExecutions", response_model=ExecutionList, responses=_NOT_FOUND
)
def list_executions(
    services: ServicesDependency,
    *,
    principal: Reader,
    trigger_id: TriggerIdPath,
    status: Annotated[RunStatus | None, Query(description="Only executions in this state, as runs have it.")] = None,
    limit: Limit = _EXECUTIONS_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the runs that a trigger has started, with what it had seen, and evaluations that failed; newest first."""
    return json_response(
        service.list_executions(
            services, principal=principal, trigger_id=trigger_id, status=status, limit=limit, cursor=cursor
        )
    )
