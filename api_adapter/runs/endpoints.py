"""The routes of the runs resource."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from api_adapter.addresses import NO_NUL, PipelineIdPath, RunIdPath
from api_adapter.auth import GuardedRoute, Principal, Scope, requires
from api_adapter.caching import answer_cached
from api_adapter.dependencies import ServicesDependency
from api_adapter.pagination import DEFAULT_LIMIT, Cursor, Limit
from api_adapter.responses import ALWAYS, DEFAULT, Responses, declare, json_response
from api_adapter.runs import service
from api_adapter.runs.filters import parse_filter
from api_adapter.runs.schemas import ExecutionStatus, RunDetail, RunList, RunNodes, RunStats
from api_adapter.storage import STATUSES
from planasonix_orchestrator.contract.tags import TRIGGER_KINDS

router = APIRouter(prefix="/api", route_class=GuardedRoute, tags=["runs"], responses={**declare(*ALWAYS), **DEFAULT})
_NOT_FOUND = declare(404)
_KEPT: Responses = {**_NOT_FOUND, 304: {"description": "The run has ended, and the caller has this answer already."}}

Reader = Annotated[Principal, requires(Scope.PIPELINES_READ)]

PipelineIdQuery = Annotated[
    str | None, Query(alias="pipelineId", description="Only runs of this pipeline.", pattern=NO_NUL)
]
StatusQuery = Annotated[
    list[str], Query(description=f"Only runs in these states: {', '.join(STATUSES)}. Repeat it, or use commas.")
]
DateRangeQuery = Annotated[
    str | None,
    Query(
        alias="dateRange",
        description="Only runs that started (while queued: were created) in this range, `a..b`, `a..` or `..b`, of "
        "dates or timestamps. A bare end date includes its whole day.",
        examples=["2025-03-01..2025-03-31"],
    ),
]
FromQuery = Annotated[str | None, Query(alias="from", description="Begin of the range, as in `dateRange`.")]
ToQuery = Annotated[str | None, Query(alias="to", description="End of the range, as in `dateRange`.")]


TriggerQuery = Annotated[
    list[str],
    Query(description=f"Only runs that these started: {', '.join(TRIGGER_KINDS)}. Repeat it, or use commas."),
]
NodeIdQuery = Annotated[
    str | None, Query(alias="nodeId", description="The node whose stack is wanted.", pattern=NO_NUL)
]


@router.get("/runs", operation_id="listRuns", response_model=RunList)
def list_runs(
    services: ServicesDependency,
    *,
    principal: Reader,
    pipeline_id: PipelineIdQuery = None,
    run_status: Annotated[StatusQuery, Query(alias="status")] = [],  # noqa: B006  (FastAPI copies it)
    trigger: TriggerQuery = [],  # noqa: B006
    date_range: DateRangeQuery = None,
    start: FromQuery = None,
    end: ToQuery = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List runs of all pipelines, newest first."""
    filter_by = parse_filter(
        pipeline_id=pipeline_id,
        status=run_status,
        trigger=trigger,
        date_range=date_range,
        start=start,
        end=end,
        visible=principal.pipelines,
    )
    return _json(service.list_runs(services, filter_by=filter_by, limit=limit, cursor=cursor))


@router.get("/runs/stats", operation_id="getRunStats", response_model=RunStats)
def get_run_stats(
    services: ServicesDependency,
    *,
    principal: Reader,
    pipeline_id: PipelineIdQuery = None,
    trigger: TriggerQuery = [],  # noqa: B006
    date_range: DateRangeQuery = None,
    start: FromQuery = None,
    end: ToQuery = None,
) -> Response:
    """Count runs by status and day, with failure rate and durations; of the last 30 days, unless a range is given."""
    filter_by = parse_filter(
        pipeline_id=pipeline_id,
        trigger=trigger,
        date_range=date_range,
        start=start,
        end=end,
        visible=principal.pipelines,
    )
    return json_response(service.read_stats(services, filter_by=filter_by))


@router.get("/pipelines/{id}/runs", operation_id="listPipelineRuns", response_model=RunList)
def list_pipeline_runs(
    services: ServicesDependency,
    *,
    principal: Reader,
    pipeline_id: PipelineIdPath,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List the runs of one pipeline, newest first."""
    filter_by = parse_filter(pipeline_id=pipeline_id, visible=principal.pipelines)
    return _json(service.list_runs(services, filter_by=filter_by, limit=limit, cursor=cursor))


@router.get(
    "/pipelines/{id}/execution-status",
    operation_id="getExecutionStatus",
    response_model=ExecutionStatus,
    responses=declare(404, 409),
)
def get_execution_status(services: ServicesDependency, *, principal: Reader, pipeline_id: PipelineIdPath) -> Response:
    """Tell how far the pipeline's run in flight has come; where none is, its last run."""
    return json_response(service.read_execution_status(services, principal=principal, pipeline_id=pipeline_id))


@router.get("/runs/{id}", operation_id="getRun", responses=_KEPT, response_model=RunDetail)
def get_run(request: Request, services: ServicesDependency, *, principal: Reader, run_id: RunIdPath) -> Response:
    """Return a run: status, timing, row counts, error and what triggered it."""
    state = service.read_state(services, principal=principal, run_id=run_id)
    return answer_cached(
        request,
        validator=service.validator_of(services, state=state),
        build=lambda: service.read_run(services, state=state),
    )


@router.get("/runs/{id}/nodes", operation_id="listRunNodes", responses=_KEPT, response_model=RunNodes)
def list_run_nodes(request: Request, services: ServicesDependency, *, principal: Reader, run_id: RunIdPath) -> Response:
    """Return every node of a run in topological order: times, status, attempts and row counts."""
    state = service.read_state(services, principal=principal, run_id=run_id)
    return answer_cached(
        request,
        validator=service.validator_of(services, state=state),
        build=lambda: _json(service.read_nodes(services, state=state)),
    )


@router.get(
    "/runs/{id}/stack",
    operation_id="getRunStack",
    response_class=PlainTextResponse,
    responses=declare(404, s404="There is no such run, or no such stack."),
)
def get_run_stack(
    services: ServicesDependency, *, principal: Reader, run_id: RunIdPath, node_id: NodeIdQuery = None
) -> PlainTextResponse:
    """Return the stack of a node's error, or without `nodeId` of the run's own, as text."""
    state = service.read_state(services, principal=principal, run_id=run_id)
    return PlainTextResponse(service.read_stack(services, state=state, node_id=node_id))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
