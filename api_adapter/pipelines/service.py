"""Tells pipelines in the API's words."""

from api_adapter.auth import Principal
from api_adapter.dependencies import Services
from api_adapter.errors import PipelineNotFoundError
from api_adapter.pipelines.schemas import (
    ExecutionPlan,
    PipelineDetail,
    PipelineList,
    PipelineProblem,
    PipelinesMeta,
    PipelineStatus,
    PipelineSummary,
    PlanStage,
    PlanStep,
)
from planasonix_orchestrator.contract.pipelines import PublishedPipeline


def list_pipelines(
    services: Services, *, principal: Principal, search: str | None, status: PipelineStatus | None
) -> PipelineList:
    """Return the pipelines that the principal may see and whose name or id contains `search`, by name."""
    catalog = services.control.catalog()
    wanted = (search or "").casefold()
    found = [
        summary
        for summary in map(_summary, catalog.pipelines.values())
        if principal.may_see(summary.id)
        and wanted in f"{summary.name}\n{summary.id}".casefold()
        and status in {None, summary.status}
    ]
    problems = [
        PipelineProblem.model_validate(problem)
        for problem in catalog.problems
        if principal.may_see(problem.get("pipelineId") or "")  # one of no known pipeline is for those who see all
    ]
    return PipelineList(
        data=sorted(found, key=lambda summary: (summary.name.casefold(), summary.id)),
        meta=PipelinesMeta(total=len(found), problems=problems),
    )


def read_pipeline(services: Services, *, principal: Principal, pipeline_id: str) -> PipelineDetail:
    """Return a pipeline's document."""
    _check_visible(pipeline_id, principal=principal)
    pipeline = services.control.catalog().get(pipeline_id)
    return PipelineDetail.model_validate(
        {**pipeline["document"], "version": pipeline["version"], "updatedAt": pipeline["updatedAt"]}
    )


def read_execution_plan(services: Services, *, principal: Principal, pipeline_id: str) -> ExecutionPlan:
    """Return how a pipeline's current graph will run."""
    _check_visible(pipeline_id, principal=principal)
    pipeline = services.control.catalog().get(pipeline_id)
    steps = [PlanStep.model_validate(step) for step in pipeline["plan"]]
    stages: dict[int, list[str]] = {}
    for step in steps:
        stages.setdefault(step.stage, []).append(step.node_id)
    return ExecutionPlan(
        pipeline_id=pipeline_id,
        version=pipeline["version"],
        order=[step.node_id for step in steps],
        steps=steps,
        stages=[PlanStage(stage=stage, node_ids=node_ids) for stage, node_ids in sorted(stages.items())],
    )


def _check_visible(pipeline_id: str, *, principal: Principal) -> None:
    if not principal.may_see(pipeline_id):
        raise PipelineNotFoundError(pipeline_id)


def _summary(pipeline: PublishedPipeline) -> PipelineSummary:
    document = pipeline["document"]
    return PipelineSummary.model_validate(
        {
            "id": pipeline["id"],
            "name": pipeline["name"],
            "projectId": document.get("projectId"),
            "folderId": document.get("folderId"),
            "status": document.get("status", "active"),
            "updatedAt": pipeline["updatedAt"],
        }
    )
