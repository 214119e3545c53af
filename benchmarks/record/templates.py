"""What bulk runs are made of: real runs, serialised by Dagster, with gaps where runs differ."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster import DagsterInstance, DagsterRun
from dagster._serdes import serialize_value
from dagster_shared.record import copy

from benchmarks.record.jobs import BRANCH, build_benchmark_job, execute, remote_origin
from planasonix_orchestrator.contract import tags as tag_names

# How runs come about, with what Dagster or we note on them; (trigger, percent of the runs, tags).
TRIGGERS: Sequence[tuple[str, int, dict[str, str]]] = (
    ("schedule", 60, {"dagster/schedule_name": "nightly", tag_names.SCHEDULE_ID: "sch_nightly"}),
    ("api", 25, {"dagster/priority": "5"}),
    ("manual", 10, {}),
    ("sensor", 5, {"dagster/sensor_name": "arrivals"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTemplate:
    """The runs of one job that came about in one way.

    `body` is a format of Postgres: its first argument is the run id, its second Dagster's status.
    """

    job: int
    trigger: int
    job_name: str
    snapshot_id: str
    body: str
    tags: dict[str, str]


def build_templates(instance: DagsterInstance, *, jobs: int, folder: Path) -> Iterator[RunTemplate]:
    """Yield the templates of so many jobs, each with its own snapshots, which are put into the instance's record."""
    job = build_benchmark_job("template", nodes=BRANCH, folder=folder)
    with DagsterInstance.ephemeral() as scratch:
        run = execute(job, instance=scratch)
        plan = scratch.run_storage.get_execution_plan_snapshot(run.execution_plan_snapshot_id or "")
    snapshot = job.definition.get_job_snapshot()
    for number in range(jobs):
        name = f"pipeline_{number:03}"
        snapshot_id = instance.run_storage.add_job_snapshot(copy(snapshot, name=name))
        plan_id = instance.run_storage.add_execution_plan_snapshot(plan._replace(job_snapshot_id=snapshot_id))
        renamed = copy(
            run,
            job_name=name,
            job_snapshot_id=snapshot_id,
            execution_plan_snapshot_id=plan_id,
            remote_job_origin=remote_origin(name),
        )
        for index, (trigger, _percent, tags) in enumerate(TRIGGERS):
            own = {tag_names.PIPELINE_ID: f"pl_{number:03}", tag_names.TRIGGER: trigger, **tags}
            yield _template(copy(renamed, tags={**run.tags, **own}), job=number, trigger=index)


def _template(run: DagsterRun, *, job: int, trigger: int) -> RunTemplate:
    body = serialize_value(run).replace("%", "%%")
    for value, gap in ((json.dumps(run.run_id), '"%1$s"'), ("PipelineRunStatus.SUCCESS", "PipelineRunStatus.%2$s")):
        assert body.count(value) == 1, f"{value} must stand once in {body}"
        body = body.replace(value, gap)
    return RunTemplate(
        job=job,
        trigger=trigger,
        job_name=run.job_name,
        snapshot_id=run.job_snapshot_id or "",
        body=body,
        tags=dict(run.tags_for_storage()),
    )
