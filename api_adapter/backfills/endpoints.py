"""The routes of the backfills resource."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response, status

from api_adapter.addresses import NO_NUL, PipelineIdPath
from api_adapter.auth import GuardedRoute, Principal, Scope, annotate, requires
from api_adapter.backfills import service
from api_adapter.backfills.schemas import (
    Backfill,
    BackfillAction,
    BackfillList,
    BackfillPlan,
    BackfillRequest,
    SliceList,
)
from api_adapter.dependencies import ServicesDependency
from api_adapter.idempotency import IdempotencyKey, location_header, replayed_header, tell_replay
from api_adapter.pagination import DEFAULT_LIMIT, Cursor, Limit
from api_adapter.responses import ALWAYS, DEFAULT, declare, json_response
from api_adapter.storage import RunStatus

router = APIRouter(
    prefix="/api", route_class=GuardedRoute, tags=["backfills"], responses={**declare(*ALWAYS), **DEFAULT}
)

Reader = Annotated[Principal, requires(Scope.PIPELINES_READ)]
Starter = Annotated[Principal, requires(Scope.PIPELINES_RUN, action="backfill.start")]
Canceler = Annotated[Principal, requires(Scope.PIPELINES_RUN, action="backfill.cancel")]
Retrier = Annotated[Principal, requires(Scope.PIPELINES_RUN, action="backfill.retry")]
BackfillIdPath = Annotated[
    str, Path(alias="id", description="Backfill id.", max_length=200, examples=["bkf_01j8k2m4n5p6q7r8s9t0v1w2x3"])
]

_STARTED: dict[str, Any] = {"headers": {**location_header("backfill"), **replayed_header("backfill")}}


@router.post(
    "/pipelines/{id}/backfill",
    operation_id="startBackfill",
    response_model=Backfill,
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        **declare(
            404,
            409,
            s409="The pipeline's document or the environment has problems, or the key of the request stands for "
            "another one; `details` say which.",
        ),
        200: {"model": BackfillPlan, "description": "A dry run: what it would run."},
        202: {"description": "A run for each slice is in the queue.", **_STARTED},
    },
)
def start_backfill(
    services: ServicesDependency,
    *,
    principal: Starter,
    http: Request,
    pipeline_id: PipelineIdPath,
    request: BackfillRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Put a run of the pipeline into the queue for each slice of a range of time: all of them, or none."""
    if request.dry_run:
        plan = service.plan_backfill(services, principal=principal, pipeline_id=pipeline_id, request=request)
        annotate(http, dryRun=True)
        return json_response(plan)
    backfill, replayed = service.start_backfill(
        services, principal=principal, pipeline_id=pipeline_id, request=request, key=idempotency_key
    )
    annotate(http, backfillId=backfill.id, **({"replayed": True} if replayed else {}))
    headers = {"Location": f"/api/backfills/{backfill.id}", **tell_replay(replayed=replayed)}
    return json_response(backfill, status=status.HTTP_202_ACCEPTED, headers=headers)


@router.get("/backfills", operation_id="listBackfills", response_model=BackfillList)
def list_backfills(
    services: ServicesDependency,
    *,
    principal: Reader,
    pipeline_id: Annotated[
        str | None, Query(alias="pipelineId", pattern=NO_NUL, max_length=500, description="Only this pipeline's.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List backfills, newest first, and how far each has come."""
    return json_response(
        service.list_backfills(services, principal=principal, pipeline_id=pipeline_id, limit=limit, cursor=cursor)
    )


@router.get("/backfills/{id}", operation_id="getBackfill", response_model=Backfill, responses=declare(404))
def get_backfill(services: ServicesDependency, *, principal: Reader, backfill_id: BackfillIdPath) -> Response:
    """Tell how far a backfill has come."""
    return json_response(service.read_backfill(services, principal=principal, backfill_id=backfill_id))


@router.get(
    "/backfills/{id}/slices", operation_id="listBackfillSlices", response_model=SliceList, responses=declare(404)
)
def list_slices(
    services: ServicesDependency,
    *,
    principal: Reader,
    backfill_id: BackfillIdPath,
    run_status: Annotated[
        list[RunStatus] | None, Query(alias="status", description="Only slices whose newest run is in this state.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the slices of a backfill, the earliest first, each with its newest run."""
    return json_response(
        service.list_slices(
            services,
            principal=principal,
            backfill_id=backfill_id,
            status=run_status or (),
            limit=limit,
            cursor=cursor,
        )
    )


@router.post(
    "/backfills/{id}/cancel",
    operation_id="cancelBackfill",
    response_model=BackfillAction,
    status_code=status.HTTP_202_ACCEPTED,
    responses=declare(404, 409, s409="All its slices have ended; `details` carry the status of the backfill."),
)
def cancel_backfill(
    services: ServicesDependency, *, principal: Canceler, http: Request, backfill_id: BackfillIdPath
) -> Response:
    """Ask that all of a backfill's runs be canceled that have not ended."""
    answer = service.cancel_backfill(services, principal=principal, backfill_id=backfill_id)
    annotate(http, runIds=answer.runs)
    return json_response(answer, status=status.HTTP_202_ACCEPTED, headers={"Retry-After": "1"})


@router.post(
    "/backfills/{id}/retry",
    operation_id="retryBackfill",
    response_model=BackfillAction,
    status_code=status.HTTP_202_ACCEPTED,
    responses=declare(
        404, 409, s409="No slice has failed or was canceled, or its pipeline does not allow it any more."
    ),
)
def retry_backfill(
    services: ServicesDependency, *, principal: Retrier, http: Request, backfill_id: BackfillIdPath
) -> Response:
    """Run the slices again that have failed or were canceled, and only those, each from where it failed."""
    answer = service.retry_backfill(services, principal=principal, backfill_id=backfill_id)
    annotate(http, runIds=answer.runs)
    return json_response(answer, status=status.HTTP_202_ACCEPTED)
