"""What this room takes of Dagster's internals: Dagster publishes how to define an executor, not what to make one of.

The parts are those of its own in-process executor (dagster/_core/executor/in_process.py and
dagster/_core/execution/plan/execute_plan.py of Dagster 1.13), so that a run writes the same events with either.

Nor does it publish what a schedule needs to know of its own past: ticks, states and tags of its scheduler (as
dagster/_scheduler/scheduler.py writes them), its reckoning of cron expressions, and its clock, which tests can set.
"""

from dagster._core.definitions.executor_definition import check_cross_process_constraints
from dagster._core.definitions.job_base import IJob
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.system import (
    PlanExecutionContext,
    PlanOrchestrationContext,
    StepExecutionContext,
)
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorTick,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.runs.schema import KeyValueStoreTable, RunTagsTable
from dagster._core.storage.schedules.schema import InstigatorsTable, JobTickTable
from dagster._core.storage.tags import (
    MAX_RUNTIME_SECONDS_TAG,
    PARENT_RUN_ID_TAG,
    RUN_KEY_TAG,
    SCHEDULE_NAME_TAG,
    SCHEDULED_EXECUTION_TIME_TAG,
)
from dagster._serdes import deserialize_value
from dagster._time import get_current_datetime
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import pop_captured_interrupt
from dagster._utils.schedules import schedule_execution_time_iterator
from dagster_shared.utils.timing import format_duration

__all__ = [
    "MAX_RUNTIME_SECONDS_TAG",
    "PARENT_RUN_ID_TAG",
    "RUN_KEY_TAG",
    "SCHEDULED_EXECUTION_TIME_TAG",
    "SCHEDULE_NAME_TAG",
    "ActiveExecution",
    "DagsterEvent",
    "DagsterRunAlreadyExists",
    "EngineEventData",
    "ExecuteRunWithPlanIterable",
    "ExecutionPlan",
    "ExecutionStep",
    "IJob",
    "InstanceConcurrencyContext",
    "InstigatorSelector",
    "InstigatorState",
    "InstigatorTick",
    "InstigatorType",
    "InstigatorsTable",
    "JobTickTable",
    "KeyValueStoreTable",
    "PlanExecutionContext",
    "PlanExecutionContextManager",
    "PlanOrchestrationContext",
    "ReconstructableJob",
    "RetryMode",
    "RunTagsTable",
    "ScheduleInstigatorData",
    "StepExecutionContext",
    "SubmitRunContext",
    "TickData",
    "TickStatus",
    "check_cross_process_constraints",
    "create_compute_log_file_key",
    "dagster_event_sequence_for_step",
    "deserialize_value",
    "format_duration",
    "get_current_datetime",
    "pop_captured_interrupt",
    "schedule_execution_time_iterator",
    "serializable_error_info_from_exc_info",
]
