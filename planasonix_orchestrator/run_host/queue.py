"""The run queue as Dagster's run coordinator: marks runs as queued and tells the host, which takes them from there."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, Field, Int, Noneable

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.resolution import environment_named
from planasonix_orchestrator.run_host.dagster_api import (
    ConfigurableClass,
    ConfigurableClassData,
    RunCoordinator,
    SubmitRunContext,
)
from planasonix_orchestrator.run_host.intents import create_queued, enqueue, intend

DEFAULT_MAX_CONCURRENT_RUNS = 4


class RunQueue(RunCoordinator[DagsterInstance], ConfigurableClass):
    """A queue in Postgres. Unlike Dagster's own it is not polled: whoever queues a run announces it.

    `max_concurrent_runs` is the limit over all pipelines.
    """

    takes_queued_runs = True  # the API may create a run as queued already, in one transaction

    def __init__(
        self,
        max_concurrent_runs: int = DEFAULT_MAX_CONCURRENT_RUNS,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster left it out
        self.max_concurrent_runs = max_concurrent_runs
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What dagster.yaml says of it."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what dagster.yaml may say."""
        return {
            "max_concurrent_runs": Field(
                Noneable(Int),
                default_value=DEFAULT_MAX_CONCURRENT_RUNS,
                description="How many runs work at once, of all pipelines together.",
            )
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> "RunQueue":
        """Return the queue that dagster.yaml describes."""
        return cls(config_value.get("max_concurrent_runs") or DEFAULT_MAX_CONCURRENT_RUNS, inst_data)

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put a new run into the queue; nothing if it has been there. What is not of a pipeline starts at once."""
        run = context.dagster_run
        if run.status is not DagsterRunStatus.NOT_STARTED:
            return run
        if tags.PIPELINE_ID in run.tags:
            if place := _place(run):
                self._instance.add_run_tags(run.run_id, place)
            enqueue(self._instance, run=run, at=datetime.now(UTC))
            return self._instance.get_run_by_id(run.run_id) or run
        return self._instance.launch_run(run.run_id, context.workspace)

    def put(self, runs: Sequence[DagsterRun], *, at: datetime) -> None:
        """Create runs of pipelines, in the queue already: all, or none (`IntegrityError`) if one can't be created."""
        placed = [run.with_tags({**run.tags, **_place(run)}) for run in runs]
        create_queued(self._instance, runs=placed, at=at)

    def cancel_run(self, run_id: str) -> bool:
        """Store that a run be canceled, whatever it is doing; False if it has ended. The host sees to the rest."""
        return intend(self._instance, run_id=run_id, by="Dagster", at=datetime.now(UTC))


def _place(run: DagsterRun) -> dict[str, str]:
    """Return the tag of the environment that a run names in its config alone, so that its limit is kept."""
    environment = environment_named(run.run_config)
    return {} if environment is None or tags.ENVIRONMENT_ID in run.tags else {tags.ENVIRONMENT_ID: environment}
