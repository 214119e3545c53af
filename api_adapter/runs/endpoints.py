"""The routes of the runs resource."""

from typing import Annotated

from fastapi import APIRouter, Query, Response, status

from api_adapter.addresses import NO_NUL, PipelineIdPath, RunIdPath
from api_adapter.auth import Principal, Scope, requires
from api_adapter.dependencies import ServicesDependency
from api_adapter.pagination import DEFAULT_LIMIT, Cursor, Limit
from api_adapter.responses import ALWAYS, DEFAULT, declare
from api_adapter.runs import service
from api_adapter.runs.filters import parse_filter
from api_adapter.runs.schemas import CancelAnswer, RunDetail, RunList, RunLogs, RunNodes
from api_adapter.storage import STATUSES, LogLevel

router = APIRouter(tags=["runs"], responses={**declare(*ALWAYS), **DEFAULT})
_NOT_FOUND = declare(404)

Reader = Annotated[Principal, requires(Scope.PIPELINES_READ)]
Canceler = Annotated[Principal, requires(Scope.PIPELINES_RUN, action="run.cancel")]

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


@router.get("/runs", operation_id="listRuns")
def list_runs(
    services: ServicesDependency,
    *,
    principal: Reader,
    pipeline_id: PipelineIdQuery = None,
    run_status: Annotated[StatusQuery, Query(alias="status")] = [],  # noqa: B006  (FastAPI copies it)
    date_range: DateRangeQuery = None,
    start: FromQuery = None,
    end: ToQuery = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> RunList:
    """List runs of all pipelines, newest first."""
    filter_by = parse_filter(pipeline_id=pipeline_id, status=run_status, date_range=date_range, start=start, end=end)
    return service.list_runs(services, principal=principal, filter_by=filter_by, limit=limit, cursor=cursor)


@router.get("/pipelines/{id}/runs", operation_id="listPipelineRuns")
def list_pipeline_runs(
    services: ServicesDependency,
    *,
    principal: Reader,
    pipeline_id: PipelineIdPath,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> RunList:
    """List the runs of one pipeline, newest first."""
    filter_by = parse_filter(pipeline_id=pipeline_id, status=(), date_range=None, start=None, end=None)
    return service.list_runs(services, principal=principal, filter_by=filter_by, limit=limit, cursor=cursor)


@router.get("/runs/{id}", operation_id="getRun", responses=_NOT_FOUND)
def get_run(services: ServicesDependency, *, principal: Reader, run_id: RunIdPath) -> RunDetail:
    """Return a run: status, timing, row counts, error and what triggered it."""
    return service.read_run(services, principal=principal, run_id=run_id)


@router.get("/runs/{id}/nodes", operation_id="listRunNodes", responses=_NOT_FOUND)
def list_run_nodes(services: ServicesDependency, *, principal: Reader, run_id: RunIdPath) -> RunNodes:
    """Return every node of a run in topological order: times, status, retries and row counts."""
    return service.read_nodes(services, principal=principal, run_id=run_id)


@router.get("/runs/{id}/logs", operation_id="listRunLogs", responses=_NOT_FOUND)
def list_run_logs(
    services: ServicesDependency,
    *,
    principal: Reader,
    run_id: RunIdPath,
    node_id: Annotated[str | None, Query(alias="nodeId", description="Only this node's.", pattern=NO_NUL)] = None,
    since: Annotated[
        str | None, Query(description="A timestamp, or `nextCursor` of an earlier answer to get only what is new.")
    ] = None,
    level: Annotated[
        LogLevel, Query(description="The least level; `debug` adds what Dagster says to itself.")
    ] = "info",
    limit: Annotated[int, Query(ge=1, le=10_000, description="Most lines in one answer.")] = 1000,
) -> RunLogs:
    """Return a run's log: what its nodes logged, and its milestones."""
    return service.read_logs(
        services, principal=principal, run_id=run_id, node_id=node_id, since=since, level=level, limit=limit
    )


@router.delete(
    "/runs/{id}",
    operation_id="cancelRun",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        **_NOT_FOUND,
        200: {"model": CancelAnswer, "description": "The run is already canceled."},
        **declare(409, s409="The run has ended; `details` carry its final status."),
    },
)
def cancel_run(
    services: ServicesDependency, *, principal: Canceler, run_id: RunIdPath, response: Response
) -> CancelAnswer:
    """Ask that a queued or running run be canceled. Asking again changes nothing."""
    answer = service.cancel_run(services, principal=principal, run_id=run_id)
    if answer.status == "canceled":
        response.status_code = status.HTTP_200_OK
    else:
        response.headers["Retry-After"] = "1"
    return answer
