"""The routes of the pipelines resource."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api_adapter.addresses import PipelineIdPath
from api_adapter.auth import GuardedRoute, Principal, Scope, requires
from api_adapter.dependencies import ServicesDependency
from api_adapter.pipelines import service
from api_adapter.pipelines.schemas import (
    ExecutionPlan,
    PipelineDetail,
    PipelineList,
    PipelineStatus,
)
from api_adapter.responses import ALWAYS, DEFAULT, declare, json_response

router = APIRouter(
    prefix="/api", route_class=GuardedRoute, tags=["pipelines"], responses={**declare(*ALWAYS), **DEFAULT}
)
_MISSING_OR_BROKEN = declare(404, 409, s409="The pipeline's document has problems; `details` list them.")

Reader = Annotated[Principal, requires(Scope.PIPELINES_READ)]


@router.get("/pipelines", operation_id="listPipelines", response_model=PipelineList)
def list_pipelines(
    services: ServicesDependency,
    *,
    principal: Reader,
    search: Annotated[str | None, Query(description="Only pipelines whose name or id contains this.")] = None,
    pipeline_status: Annotated[
        PipelineStatus | None, Query(alias="status", description="Only pipelines in this state.")
    ] = None,
) -> Response:
    """List the pipelines that are loaded, and the problems of documents that did not load."""
    return json_response(service.list_pipelines(services, principal=principal, search=search, status=pipeline_status))


@router.get("/pipelines/{id}", operation_id="getPipeline", response_model=PipelineDetail, responses=_MISSING_OR_BROKEN)
def get_pipeline(services: ServicesDependency, *, principal: Reader, pipeline_id: PipelineIdPath) -> Response:
    """Return a pipeline's whole graph."""
    return json_response(service.read_pipeline(services, principal=principal, pipeline_id=pipeline_id))


@router.get(
    "/pipelines/{id}/execution-plan",
    operation_id="getExecutionPlan",
    response_model=ExecutionPlan,
    responses=_MISSING_OR_BROKEN,
)
def get_execution_plan(services: ServicesDependency, *, principal: Reader, pipeline_id: PipelineIdPath) -> Response:
    """Tell how the pipeline's current graph will run: the order of its nodes, splits, and what is pushed together."""
    return json_response(service.read_execution_plan(services, principal=principal, pipeline_id=pipeline_id))
