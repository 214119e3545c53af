"""Runs for the API's tests: really executed ones, and ones that only stand in the record."""

from collections.abc import Mapping

from dagster import DagsterInstance, DagsterRunStatus, JobDefinition
from dagster._core.storage.dagster_run import DagsterRun

from tests.api import served


def execute(job: JobDefinition, *, instance: DagsterInstance, tags: Mapping[str, str] | None = None) -> str:
    """Run a job here and return its Dagster run id."""
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=dict(tags or {})).run_id


def make_run(
    instance: DagsterInstance, *, status: DagsterRunStatus, tags: Mapping[str, str] | None = None
) -> DagsterRun:
    """A run of `slow` as it stands in the record in some state, without any worker."""
    tags = {"planasonix/pipeline_id": "pl_slow", **(tags or {})}
    return instance.create_run_for_job(served.slow, status=status, tags=tags)
