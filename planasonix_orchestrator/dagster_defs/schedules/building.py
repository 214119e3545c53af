"""The Dagster schedule of a document's schedule: what its evaluation asks Dagster to run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
)

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.contract.pipelines import PublishedEnvironments
from planasonix_orchestrator.contract.slices import fill_slice, format_moment, slice_tags, slice_values
from planasonix_orchestrator.contract.values import VariableValue
from planasonix_orchestrator.dagster_defs.dagster_internals import get_current_datetime
from planasonix_orchestrator.dagster_defs.run_requests import request_run
from planasonix_orchestrator.dagster_defs.schedules.policy import GRACE, decide
from planasonix_orchestrator.dagster_defs.schedules.record import ScheduleRecord, open_record
from planasonix_orchestrator.dagster_defs.schedules.times import Fire, Rhythm, current_eras, newest_fires
from planasonix_orchestrator.graph.document import ScheduleDocument

_MOST_DUE = 1500  # more than any policy starts; what is older is left out, whatever the policy
_NOT_DUE = "it was not due: the schedule has been changed, and had not fired at this time before"


def build_schedules(
    plan: PipelinePlan,
    *,
    environments: PublishedEnvironments,
    clock: Callable[[], datetime] = get_current_datetime,
) -> Iterator[ScheduleDefinition]:
    """Yield the schedules of a plan. Those of a pipeline that is not active are off, and start nothing if put on."""
    for schedule in plan.schedules:
        yield _Builder(plan=plan, schedule=schedule, environments=environments, clock=clock).build()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Builder:
    plan: PipelinePlan
    schedule: ScheduleDocument
    environments: PublishedEnvironments
    clock: Callable[[], datetime]

    def build(self) -> ScheduleDefinition:
        on = self.schedule.enabled and self._inactivity is None
        return ScheduleDefinition(
            name=encode_name(self.schedule.id),
            job_name=self.plan.job_name,
            cron_schedule=self.schedule.cron_expression,
            execution_timezone=self.schedule.timezone,
            execution_fn=self._evaluate,
            description=self._description,
            default_status=DefaultScheduleStatus.RUNNING if on else DefaultScheduleStatus.STOPPED,
        )

    @property
    def _rhythm(self) -> Rhythm:
        return Rhythm(cron=self.schedule.cron_expression, timezone=self.schedule.timezone)

    @property
    def _inactivity(self) -> str | None:
        status = self.plan.document.get("status", "active")
        return None if status == "active" else f"the pipeline is {status}: its schedules start nothing (status)"

    @property
    def _description(self) -> str:
        schedule = self.schedule
        policies = f"catchUp: {schedule.catch_up}, overlap: {schedule.overlap}"
        return f"{schedule.name or schedule.id}: {schedule.cron_expression} in {schedule.timezone} ({policies})"

    def _evaluate(self, context: ScheduleEvaluationContext) -> Iterator[RunRequest | SkipReason]:
        at = context.scheduled_execution_time.astimezone(UTC)
        if _is_tick(context):
            with open_record(context.instance, schedule_id=self.schedule.id, job_name=self.plan.job_name) as record:
                yield from self._fire(record, at=at)
        else:
            yield self._request(Fire(at=at, rhythm=self._rhythm), now=at)

    def _fire(self, record: ScheduleRecord, *, at: datetime) -> Iterator[RunRequest | SkipReason]:
        """Yield the runs of all fires that are due when the one of the tick comes, or the reason why there are none."""
        now = self.clock()
        fires, complete = self._due(record, at=at, now=now)
        due = {fire.at: fire for fire in fires}
        runs = record.runs(due)
        # Dagster itself finds the run of a fire again, and puts it into the queue, if it is of the same tick.
        begun = [fire for fire in due if fire in runs and runs[fire].tick_at == at]
        open_ = [fire for fire in due if fire not in runs or fire in begun]
        decision = decide(open_, self.schedule, now=now, begun=begun, hindrance=self._hindrance(record))
        first = min(open_, default=at)
        record.settle(
            left_out={fire: reason for fire, reason in decision.left_out.items() if fire != at},
            started={fire: run for fire, run in runs.items() if fire < first},
            complete=complete,
            at=at,
        )
        if decision.starts:
            yield from [self._request(due[fire], now=now) for fire in decision.starts]
        elif at in runs:
            yield SkipReason(f"its run was started before: {encode_run_id(runs[at].run_id)}")
        else:
            yield SkipReason(decision.left_out.get(at, _NOT_DUE))

    def _due(self, record: ScheduleRecord, *, at: datetime, now: datetime) -> tuple[Sequence[Fire], bool]:
        """Return the newest fires that are due and not seen to, and whether these are all."""
        bound = record.seen_to(before=at)
        known = record.eras(timezone=self.schedule.timezone)
        eras = current_eras(known, rhythm=self._rhythm, changed_at=self.plan.updated_at or bound, bound=bound, now=now)
        if tuple(known) != eras:
            record.keep_eras(eras)
        return newest_fires(eras, after=bound, until=at, now=now, number=_MOST_DUE)

    def _hindrance(self, record: ScheduleRecord) -> str | None:
        """Return why no run may start now."""
        in_flight = record.run_in_flight() if self.schedule.overlap == "skip" else None
        if in_flight is not None:
            return f"run {encode_run_id(in_flight)} of this schedule has not ended (overlap: skip)"
        return self._inactivity

    def _request(self, fire: Fire, *, now: datetime) -> RunRequest:
        slice_ = slice_tags(
            fire.at,
            previous=fire.rhythm.previous(fire.at),
            following=fire.rhythm.next(fire.at),
            timezone=fire.rhythm.timezone,
        )
        return request_run(
            self.plan,
            environments=self.environments,
            variables=self._variables(slice_),
            environment_id=self.schedule.environment_id,
            run_key=fire.at.isoformat(),
            tags={
                tag_names.TRIGGER: "schedule",
                tag_names.SCHEDULE_ID: self.schedule.id,
                **slice_,
                **({tag_names.LIMITED_BY: f"{self.schedule.id} 1"} if self.schedule.overlap == "queue" else {}),
                **self._deadline(fire.at, now=now),
            },
        )

    def _variables(self, slice_: Mapping[str, str]) -> Mapping[str, VariableValue]:
        values = slice_values(slice_) or {}
        return {name: fill_slice(value, values=values) for name, value in self.schedule.variables.items()}

    def _deadline(self, at: datetime, *, now: datetime) -> Mapping[str, str]:
        """Return the tag of the deadline: counted from when the run was due, or could start at all."""
        if self.schedule.deadline_seconds is None:
            return {}
        begin = at if now - at <= GRACE else now
        return {tag_names.DEADLINE: format_moment(begin + timedelta(seconds=self.schedule.deadline_seconds))}


def _is_tick(context: ScheduleEvaluationContext) -> bool:
    """Tell whether the scheduler asks, which names its tick; else Dagster's UI only tries what would come of a fire."""
    return bool(context.log_key and context.log_key[-1].isdecimal())
