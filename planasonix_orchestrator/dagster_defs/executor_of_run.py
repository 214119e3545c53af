"""The executor of a job: each run gets the one that its config, its environment or its pipeline asks for."""

import json
from collections.abc import Iterator
from typing import Any, get_args

from dagster import (
    DagsterRun,
    Enum,
    EnumValue,
    Executor,
    ExecutorDefinition,
    Field,
    InitExecutorContext,
    Int,
    Noneable,
    build_reconstructable_job,
    executor,
)

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract.metadata import DOCUMENT
from planasonix_orchestrator.contract.pipelines import ExecutorType, PublishedEnvironments, PublishedExecutor
from planasonix_orchestrator.contract.resolution import ResolvedExecutor, resolve_executor
from planasonix_orchestrator.dagster_defs.dagster_internals import (
    DagsterEvent,
    ExecutionPlan,
    IJob,
    PlanOrchestrationContext,
    ReconstructableJob,
    RetryMode,
    check_cross_process_constraints,
)
from planasonix_orchestrator.dagster_defs.executor import build_executor
from planasonix_orchestrator.dagster_defs.variables import find_environment
from planasonix_orchestrator.settings import Settings

# Where the processes of nodes find what builds a job of its document: a module that stands above this one.
REBUILDER = ("planasonix_orchestrator.dagster_defs.repository", "rebuild_job")
_TYPE = "type"
_LIMIT = "maxParallelNodes"


def build_executor_of_run(
    plan: PipelinePlan, *, environments: PublishedEnvironments, settings: Settings
) -> ExecutorDefinition:
    """Return the executor of a plan's job; the run's config comes before its environment, that before the plan."""
    of_plan = publish_executor(plan)

    @executor(
        name="planasonix_executor",
        config_schema={
            _TYPE: Field(
                Noneable(Enum("executor", [EnumValue(name) for name in get_args(ExecutorType)])),
                default_value=None,
                description="How nodes are executed. null: as the environment says, or the pipeline.",
            ),
            _LIMIT: Field(
                Noneable(Int),
                default_value=None,
                description="How many nodes work at once. null: as the environment says, or the pipeline.",
            ),
        },
    )
    def planasonix_executor(context: InitExecutorContext) -> Executor:
        """Execute nodes as the run, its environment or its pipeline asks for."""
        return _ExecutorOfRun(context, of_plan=of_plan, environments=environments, settings=settings)

    return planasonix_executor


def publish_executor(plan: PipelinePlan) -> PublishedExecutor | None:
    """Return what a plan says of how its nodes are executed, as the contract has it."""
    if plan.executor is None:
        return None
    return {"type": plan.executor.type, "maxParallelNodes": plan.executor.max_parallel_nodes}


class _ExecutorOfRun(Executor):
    """Stands for another executor until it sees the run, whose environment has a say in which."""

    def __init__(
        self,
        context: InitExecutorContext,
        *,
        of_plan: PublishedExecutor | None,
        environments: PublishedEnvironments,
        settings: Settings,
    ) -> None:
        self._context = context
        self._of_plan = of_plan
        self._environments = environments
        self._settings = settings

    @property
    def retries(self) -> RetryMode:
        """Steps may ask to be tried again, whichever executor it is."""
        return RetryMode.ENABLED

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        """Yield the events of the run's executor."""
        choice = self._choose(plan_context.dagster_run)
        if choice.type == "multiprocess" and not isinstance(plan_context.job, ReconstructableJob):
            plan_context = _rebuildable(plan_context)
        definition = build_executor(choice.type, settings=self._settings, max_parallel_nodes=choice.max_parallel_nodes)
        yield from self._create(definition, job=plan_context.job).execute(plan_context, execution_plan)

    def _choose(self, run: DagsterRun) -> ResolvedExecutor:
        environment = find_environment(run, environments=self._environments)
        given: Any = self._context.executor_config
        return resolve_executor(
            run=given, environment=environment["executor"] if environment else None, pipeline=self._of_plan
        )

    def _create(self, definition: ExecutorDefinition, *, job: IJob) -> Executor:
        configured: Any = definition.apply_config_mapping({}).value
        context = self._context._replace(
            job=job,
            executor_def=definition,
            executor_config={"retries": {"enabled": {}}, _LIMIT: None, **configured},
        )
        check_cross_process_constraints(context)
        create = definition.executor_creation_fn
        assert create is not None  # noqa: S101  (only definitions that Dagster makes by itself have none)
        return create(context)


def _rebuildable(context: PlanOrchestrationContext) -> PlanOrchestrationContext:
    """Return the context of a job that was built of its document, with one that other processes can build too."""
    run = context.dagster_run
    metadata = context.job.get_definition().metadata
    arguments: Any = (json.dumps(metadata[DOCUMENT].value), metadata["file"].value if "file" in metadata else None)
    job = build_reconstructable_job(*REBUILDER, arguments)
    if run.resolved_op_selection:
        job = job.get_subset(op_selection=run.resolved_op_selection)
    return PlanOrchestrationContext(
        plan_data=context.plan_data._replace(job=job),
        log_manager=context.log,
        executor=context.executor,
        output_capture=context.output_capture,
        resume_from_failure=context.resume_from_failure,
    )
