"""The routes by which runs are acted on."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, status
from starlette.concurrency import run_in_threadpool

from api_adapter.addresses import PipelineIdPath, RunIdPath
from api_adapter.auth import GuardedRoute, Principal, Scope, annotate, open_stream, requires
from api_adapter.dependencies import OfApplication, ServicesDependency
from api_adapter.idempotency import IdempotencyKey, location_header, replayed_header
from api_adapter.responses import ALWAYS, DEFAULT, declare, json_response
from api_adapter.run_actions import service
from api_adapter.run_actions.schemas import (
    CancelAnswer,
    CancelManyAnswer,
    CancelManyRequest,
    RetryRequest,
    RunAccepted,
    RunRequest,
)
from api_adapter.run_actions.waiting import Endings
from api_adapter.runs.schemas import RunDetail

router = APIRouter(prefix="/api", route_class=GuardedRoute, responses={**declare(*ALWAYS), **DEFAULT})

Starter = Annotated[Principal, requires(Scope.PIPELINES_RUN, action="run.start")]
Canceler = Annotated[Principal, requires(Scope.PIPELINES_RUN, action="run.cancel")]
Retrier = Annotated[Principal, requires(Scope.PIPELINES_RUN, action="run.retry")]
EndingsDependency = Annotated[Endings, Depends(OfApplication("endings"))]
WaitQuery = Annotated[
    float | None,
    Query(ge=0, le=60, description="Answer when the run has ended (200), or after these seconds at the latest (202)."),
]

_MISSING_OR_BROKEN = declare(
    404,
    409,
    s409="The pipeline's document or the environment has problems, or the key of the request stands for another one; "
    "`details` say which.",
)
_STARTED: dict[str, Any] = {"headers": {**location_header("run"), **replayed_header("run")}}
_RETRY_AFTER = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
_CANCELING: dict[str, Any] = {
    "tags": ["runs"],
    "response_model": CancelAnswer,
    "status_code": status.HTTP_202_ACCEPTED,
    "responses": {
        **declare(404),
        200: {"model": CancelAnswer, "description": "The run is already canceled."},
        202: {"description": "The wish is stored: the run ends as `canceled`.", "headers": _RETRY_AFTER},
        **declare(409, s409="The run has ended; `details` carry its final status. The deployment may answer 400."),
    },
}


@router.post(
    "/pipelines/{id}/run",
    operation_id="startRun",
    tags=["pipelines"],
    response_model=RunAccepted,
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        **_MISSING_OR_BROKEN,
        200: {"model": RunDetail, "description": "The run has ended while the request waited.", **_STARTED},
        202: {"description": "The run is in the queue.", **_STARTED},
    },
)
async def start_run(
    services: ServicesDependency,
    endings: EndingsDependency,
    *,
    principal: Starter,
    http: Request,
    pipeline_id: PipelineIdPath,
    request: RunRequest | None = None,
    idempotency_key: IdempotencyKey = None,
    wait: WaitQuery = None,
) -> Response:
    """Put a run of the pipeline into the queue; it is launched as soon as there is capacity."""
    lease = open_stream(http, principal) if wait else None  # before anything is started
    accepted = await run_in_threadpool(
        service.start_run,
        services,
        principal=principal,
        pipeline_id=pipeline_id,
        request=request or RunRequest(),
        key=idempotency_key,
    )
    _note_start(http, accepted)
    if wait and lease is not None:
        ended = await endings.wait(accepted.dagster_id, seconds=wait, request=http, lease=lease)
        answer = await run_in_threadpool(service.answer_end, services, accepted=accepted, ended=ended)
    else:
        answer = json_response(accepted.run, status=status.HTTP_202_ACCEPTED)
    answer.headers.update(accepted.headers)
    return answer


@router.post(
    "/runs/cancel",
    operation_id="cancelRuns",
    tags=["runs"],
    response_model=CancelManyAnswer,
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        200: {"model": CancelManyAnswer, "description": "Nothing was asked for: a dry run, or there are no such runs."},
        202: {"description": "The wishes are stored: these runs end as `canceled`.", "headers": _RETRY_AFTER},
    },
)
def cancel_runs(
    services: ServicesDependency, *, principal: Canceler, http: Request, request: CancelManyRequest
) -> Response:
    """Ask that all runs of some kind be canceled, up to a limit; or, in a dry run, tell which these are."""
    answer = service.cancel_runs(services, principal=principal, request=request)
    annotate(
        http,
        filter=request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"dry_run", "limit"}),
        dryRun=request.dry_run,
        runIds=[run.id for run in answer.data],
    )
    return _accepted(answer) if answer.meta.requested else json_response(answer)


@router.delete("/runs/{id}", operation_id="cancelRun", **_CANCELING)
def cancel_run(services: ServicesDependency, *, principal: Canceler, run_id: RunIdPath) -> Response:
    """Ask that a queued or running run be canceled. Asking again changes nothing."""
    answer = service.cancel_run(services, principal=principal, run_id=run_id)
    return json_response(answer) if answer.status == "canceled" else _accepted(answer)


@router.post("/runs/{id}/cancel", operation_id="cancelRunByPost", **_CANCELING)
def cancel_run_by_post(services: ServicesDependency, *, principal: Canceler, run_id: RunIdPath) -> Response:
    """Do as `DELETE /api/runs/{id}`, for callers who can't send that."""
    return cancel_run(services, principal=principal, run_id=run_id)


@router.post(
    "/runs/{id}/retry",
    operation_id="retryRun",
    tags=["runs"],
    response_model=RunAccepted,
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        **declare(
            404,
            409,
            s409="The run has neither failed nor was canceled, has left nothing to do, or its pipeline or environment "
            "does not allow it any more; another retry goes on; the key stands for another request. `details` say why.",
        ),
        202: {"description": "The retry is in the queue.", **_STARTED},
    },
)
def retry_run(
    services: ServicesDependency,
    *,
    principal: Retrier,
    http: Request,
    run_id: RunIdPath,
    request: RetryRequest | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run again what a failed or canceled run has left undone. Several who ask at once get one retry."""
    accepted = service.retry_run(
        services, principal=principal, run_id=run_id, request=request or RetryRequest(), key=idempotency_key
    )
    _note_start(http, accepted)
    return json_response(accepted.run, status=status.HTTP_202_ACCEPTED, headers=accepted.headers)


def _accepted(wishes: CancelAnswer | CancelManyAnswer) -> Response:
    return json_response(wishes, status=status.HTTP_202_ACCEPTED, headers={"Retry-After": "1"})


def _note_start(http: Request, accepted: service.Accepted) -> None:
    annotate(http, runId=accepted.run.run_id, **({"replayed": True} if accepted.replayed else {}))
