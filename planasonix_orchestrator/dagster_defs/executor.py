"""Our executor: the nodes of a run as threads of its process; and Dagster's own, by the names that documents use."""

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import assert_never

from dagster import (
    DagsterExecutionInterruptedError,
    Executor,
    ExecutorDefinition,
    Field,
    InitExecutorContext,
    Int,
    Noneable,
    executor,
    in_process_executor,
    multiprocess_executor,
)

from planasonix_orchestrator.contract.names import decode_name
from planasonix_orchestrator.contract.pipelines import ExecutorType
from planasonix_orchestrator.dagster_defs.dagster_internals import (
    MAX_RUNTIME_SECONDS_TAG,
    ActiveExecution,
    DagsterEvent,
    EngineEventData,
    ExecuteRunWithPlanIterable,
    ExecutionPlan,
    ExecutionStep,
    InstanceConcurrencyContext,
    PlanExecutionContext,
    PlanExecutionContextManager,
    PlanOrchestrationContext,
    RetryMode,
    create_compute_log_file_key,
    format_duration,
    serializable_error_info_from_exc_info,
)
from planasonix_orchestrator.dagster_defs.interruption import RunTimeoutError
from planasonix_orchestrator.dagster_defs.node_threads import Ended, Happened, NodeThreads, Report
from planasonix_orchestrator.engine.stopping import Reason
from planasonix_orchestrator.settings import Settings

_LONGEST_WAIT = 3600.0  # seconds; a queue gives up at once if the end of a wait is too far for it to reckon with
_SECONDS_BETWEEN_CLAIMS = 1.0  # of slots in Dagster's pools, if a user has put ops into some


def build_executor(
    choice: ExecutorType = "threads", *, settings: Settings, max_parallel_nodes: int | None = None
) -> ExecutorDefinition:
    """Return the executor of a job: ours, or Dagster's of that name. Without a limit, as many nodes as cores."""
    limit = max_parallel_nodes or settings.threads or _cores()
    match choice:
        case "threads":
            return build_threads_executor(limit)
        case "in_process":
            return in_process_executor
        case "multiprocess":
            return multiprocess_executor.configured({"max_concurrent": limit}, name="multiprocess")
    assert_never(choice)


def build_threads_executor(limit: int) -> ExecutorDefinition:
    """Return our executor, for at most so many nodes at once unless a run's config says otherwise."""

    @executor(
        name="planasonix_executor",
        config_schema={
            "maxParallelNodes": Field(
                Noneable(Int), default_value=None, description=f"How many nodes work at once. null: {limit}."
            )
        },
    )
    def planasonix_executor(context: InitExecutorContext) -> Executor:
        """Nodes that don't wait for each other work at the same time, as threads of the run's process."""
        given = context.executor_config["maxParallelNodes"]
        return ThreadsExecutor(given if isinstance(given, int) else limit)

    return planasonix_executor


class ThreadsExecutor(Executor):
    """Executes up to `limit` steps at once in this process, and writes the events that Dagster's own would."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)

    @property
    def retries(self) -> RetryMode:
        """Steps may ask to be tried again."""
        return RetryMode.ENABLED

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        """Yield the events of all steps, each step's in order, from this thread."""
        began = time.monotonic()
        data = EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute)
        where = f"in process (pid: {os.getpid()}), up to {self._limit} at once"
        yield DagsterEvent.engine_event(plan_context, f"Executing steps {where}", event_specific_data=data)
        yield from ExecuteRunWithPlanIterable(
            execution_plan=execution_plan,
            iterator=self._iterate,
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )
        took = format_duration(1000 * (time.monotonic() - began))
        yield DagsterEvent.engine_event(
            plan_context, f"Finished steps in process (pid: {os.getpid()}) in {took}", event_specific_data=data
        )

    def _iterate(self, job_context: PlanExecutionContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        with (
            InstanceConcurrencyContext(job_context.instance, job_context.dagster_run) as slots,
            execution_plan.start(
                retry_mode=job_context.retry_mode,
                instance_concurrency_context=slots,
                step_dependency_config=job_context.step_dependency_config,
            ) as active,
            NodeThreads(self._limit) as threads,
            threads.hearing_signals(),
        ):
            execution = _Execution(job_context, active=active, slots=slots, threads=threads)
            yield from _with_output_captured(execution.events(), context=job_context, plan=execution_plan)


class _Execution:
    """Starts steps as soon as they can be, and ends the run when there are none left, or when it is to be stopped."""

    def __init__(
        self,
        context: PlanExecutionContext,
        *,
        active: ActiveExecution,
        slots: InstanceConcurrencyContext,
        threads: NodeThreads,
    ) -> None:
        self._context = context
        self._active = active
        self._slots = slots
        self._threads = threads
        self._attempts: dict[str, float] = {}  # of steps that wait for their next one: when that is due
        self._failed: set[str] = set()
        self._left_out: set[str] = set()
        self._limit = _run_limit(context)
        self._deadline = time.monotonic() + self._limit
        self._stopped_by: BaseException | None = None

    def events(self) -> Iterator[DagsterEvent]:
        """Yield the events of all steps; raise what stopped the run, once nothing of it runs any longer."""
        while not (self._active.is_complete or (self._stopped_by and self._threads.idle)):
            if not self._stopped_by:
                self._start_steps()
                yield from self._active.concurrency_event_iterator(self._context)
            report = self._threads.next_report(seconds=self._seconds_to_wait())
            while report is not None:  # and what else is there already, before steps are looked for again
                yield from self._take(report)
                report = self._threads.next_report(seconds=0)
            self._stop_where_due()
        if isinstance(self._stopped_by, RunTimeoutError) and self._active.is_complete:
            return  # what had started has ended well, or has failed for that reason
        if self._stopped_by is not None:
            raise self._stopped_by

    def _start_steps(self) -> None:
        now = time.monotonic()
        for step_key in [key for key, due in self._attempts.items() if due <= now]:
            del self._attempts[step_key]
            self._active.mark_up_for_retry(step_key)
        if self._threads.free:
            for step in self._active.get_steps_to_execute(limit=self._threads.free):
                self._threads.start(self._context.for_step(step, self._active.get_known_state()))

    def _seconds_to_wait(self) -> float:
        longest = _SECONDS_BETWEEN_CLAIMS if self._slots.has_pending_claims() else _LONGEST_WAIT
        if self._stopped_by:
            return longest
        moment = min([self._deadline, *self._attempts.values()])
        return min(max(0.0, moment - time.monotonic()), longest)

    def _take(self, report: Report) -> Iterator[DagsterEvent]:
        match report:
            case Happened(event):
                yield event
                self._take_event(event)
            case Ended(step_key, error):
                if step_key not in self._attempts:
                    self._active.verify_complete(self._context, step_key)
                if error is not None and self._stopped_by is None:
                    self._stop(error, told=DagsterExecutionInterruptedError)
                yield from self._pass_over()

    def _take_event(self, event: DagsterEvent) -> None:
        step_key = event.step_key or ""
        if event.is_step_failure:
            self._failed.add(step_key)
        if event.is_step_up_for_retry and self._context.retry_mode.enabled:
            # Kept from Dagster until it is due, as Dagster waits by the clock on the wall, which may be set meanwhile.
            self._attempts[step_key] = time.monotonic() + (event.step_retry_data.seconds_to_wait or 0)
            self._slots.free_step(step_key)
        else:
            self._active.handle_event(event)

    def _pass_over(self) -> Iterator[DagsterEvent]:
        """Leave out the steps behind failed ones, with a line of our own: Dagster's is at the level of errors.

        There is no event for it: Dagster would take a step that was skipped for one that needs no retry.
        """
        while steps := self._active.get_steps_to_abandon():
            for step in steps:
                self._context.for_step(step).log.warning(self._why_left_out(step))
                self._left_out.add(step.key)
                self._active.mark_abandoned(step.key)
        yield from self._active.plan_events_iterator(self._context)

    def _why_left_out(self, step: ExecutionStep) -> str:
        before = {key for source in step.step_inputs for key in source.dependency_keys}
        failed, idle = before & self._failed, before & self._left_out
        reasons = [f"{_nodes(keys)} {did}" for keys, did in ((failed, "failed"), (idle, "did not start")) if keys]
        return f"Node not started: {' and '.join(reasons)}"

    def _stop_where_due(self) -> None:
        if self._threads.signalled:
            self._stop(DagsterExecutionInterruptedError(), told=DagsterExecutionInterruptedError)
        elif time.monotonic() >= self._deadline:
            self._stop(RunTimeoutError(self._limit), told=partial(RunTimeoutError, self._limit))

    def _stop(self, error: BaseException, *, told: Reason) -> None:
        """Start no further step, have those that run stopped, and end with the error; a cancellation's comes first."""
        if self._stopped_by is None or isinstance(error, DagsterExecutionInterruptedError):
            self._stopped_by = error
        self._threads.stop(told)


def _nodes(step_keys: set[str]) -> str:
    return ", ".join(sorted(map(decode_name, step_keys)))


def _run_limit(context: PlanExecutionContext) -> float:
    """Return the seconds that the run may take, from its start in this process."""
    said = context.dagster_run.tags.get(MAX_RUNTIME_SECONDS_TAG)
    try:
        return float(said) if said else math.inf
    except ValueError:
        context.log.warning(f"The tag {MAX_RUNTIME_SECONDS_TAG} is no number of seconds: {said}")  # noqa: G004
        return math.inf


def _with_output_captured(
    events: Iterator[DagsterEvent], *, context: PlanExecutionContext, plan: ExecutionPlan
) -> Iterator[DagsterEvent]:
    """Yield the events, while what the process prints goes to the run's compute logs."""
    manager = context.instance.compute_log_manager
    log_key = manager.build_log_key_for_run(context.run_id, create_compute_log_file_key())
    step_keys = [step.key for step in plan.get_steps_to_execute_in_topo_order()]
    with ExitStack() as stack:
        try:
            captured = stack.enter_context(manager.capture_logs(log_key))
        except Exception:  # a run needs no compute logs
            yield _trouble(context, "Exception while setting up compute log capture")
        else:
            yield DagsterEvent.capture_logs(context, step_keys, log_key, captured)
        yield from events
        try:
            stack.close()
        except Exception:
            yield _trouble(context, "Exception while cleaning up compute log capture")


def _trouble(context: PlanExecutionContext, message: str) -> DagsterEvent:
    error = serializable_error_info_from_exc_info(sys.exc_info())
    return DagsterEvent.engine_event(context, message, event_specific_data=EngineEventData(error=error))


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
