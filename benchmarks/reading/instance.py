"""Asks the methods of `DagsterInstance` in this process, as a Python script would."""

from typing import Any

from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, EventLogRecord, RunRecord, RunsFilter
from dagster._core.event_api import EventLogCursor  # callers get these cursors as text and have no other way to one

from benchmarks.reading.facts import (
    LOG_PAGE,
    PAGE,
    LineFacts,
    NodeFacts,
    PageQuery,
    Reading,
    RunDetailFacts,
    RunFacts,
    row_counts,
    row_totals,
    run_facts,
)

_NODE_STATUS = {"SUCCESS": "succeeded", "FAILURE": "failed", "SKIPPED": "skipped", "IN_PROGRESS": "running"}


class InstanceReader:
    """Dagster's own methods, with pooled connections."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance

    def page(self, query: PageQuery) -> Reading[RunFacts]:
        """Ask for a page of runs. Dagster compares the creation, not the start."""
        filter_by = RunsFilter(
            job_name=query.job_name,
            statuses=[DagsterRunStatus[status] for status in query.dagster_statuses],
            created_after=query.since,
            created_before=query.until,
        )
        return Reading(
            fetch=lambda: self._instance.get_run_records(filter_by, limit=PAGE, cursor=query.after),
            tell=lambda records: [_run(record) for record in records],
        )

    def run(self, dagster_id: str) -> Reading[RunDetailFacts]:
        """Ask for a run in full."""
        return Reading(
            fetch=lambda: (self._instance.get_run_record_by_id(dagster_id), self._outputs(dagster_id)),
            tell=lambda answer: [_detail(*answer)],
        )

    def nodes(self, dagster_id: str) -> Reading[NodeFacts]:
        """Ask for the nodes of a run."""

        def fetch() -> Any:
            run = self._instance.get_run_by_id(dagster_id)
            assert run is not None
            plan = self._instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id or "")
            return plan, self._instance.get_run_step_stats(dagster_id), self._outputs(dagster_id)

        return Reading(fetch=fetch, tell=_nodes)

    def log(self, dagster_id: str, *, after: str | None = None) -> Reading[LineFacts]:
        """Ask for a page of a run's log behind a cursor of Dagster's."""
        return Reading(
            fetch=lambda: self._instance.get_records_for_run(dagster_id, cursor=after, limit=LOG_PAGE).records,
            tell=_lines,
        )

    def cursor_behind(self, event_id: int) -> str:
        """Return Dagster's cursor behind an event, which GraphQL takes too."""
        return EventLogCursor.from_storage_id(event_id).to_string()

    def log_of_node(self, dagster_id: str, *, node: str) -> Reading[LineFacts]:
        """Ask for a page of a node's log: no method chooses, so all pages are read until there is enough."""

        def fetch() -> list[EventLogRecord]:
            records: list[EventLogRecord] = []
            after = None
            while True:
                page = self._instance.get_records_for_run(dagster_id, cursor=after, limit=LOG_PAGE)
                records += (each for each in page.records if _is_line(each) and each.event_log_entry.step_key == node)
                if len(records) >= LOG_PAGE or not page.has_more:
                    return records[:LOG_PAGE]
                after = page.cursor

        return Reading(fetch=fetch, tell=_lines)

    def _outputs(self, dagster_id: str) -> list[EventLogRecord]:
        found = self._instance.get_records_for_run(dagster_id, of_type=DagsterEventType.STEP_OUTPUT)
        return list(found.records)


def _run(record: RunRecord) -> RunFacts:
    return run_facts(
        dagster_id=record.dagster_run.run_id,
        status=record.dagster_run.status.value,
        tags=record.dagster_run.tags,
        started_at=record.start_time,
        finished_at=record.end_time,
    )


def _detail(record: RunRecord, outputs: list[EventLogRecord]) -> RunDetailFacts:
    nodes = [
        NodeFacts(node_id=step, status="", started_at=None, finished_at=None, **rows)
        for step, rows in _row_counts(outputs).items()
    ]
    read, written = row_totals(nodes)
    return RunDetailFacts(
        run=_run(record), queued_at=record.create_timestamp.timestamp(), rows_read=read, rows_written=written
    )


def _nodes(answer: Any) -> list[NodeFacts]:
    plan, stats, outputs = answer
    counts = _row_counts(outputs)
    by_step = {step.step_key: step for step in stats}
    return [
        NodeFacts(
            node_id=step.key,
            status=_NODE_STATUS[by_step[step.key].status.value],
            started_at=by_step[step.key].start_time,
            finished_at=by_step[step.key].end_time,
            **counts[step.key],
        )
        for step in plan.steps
    ]


def _row_counts(outputs: list[EventLogRecord]) -> dict[str, dict[str, int | None]]:
    counts = {}
    for record in outputs:
        event = record.event_log_entry.get_dagster_event()
        figures = {label: value.value for label, value in event.step_output_data.metadata.items()}
        counts[event.step_key or ""] = row_counts({key: each for key, each in figures.items() if isinstance(each, int)})
    return counts


def _is_line(record: EventLogRecord) -> bool:
    return not record.event_log_entry.is_dagster_event


def _lines(records: list[EventLogRecord]) -> list[LineFacts]:
    return [
        LineFacts(
            node_id=record.event_log_entry.step_key or "",
            message=record.event_log_entry.user_message,
            logged_at=record.event_log_entry.timestamp,
        )
        for record in records
        if _is_line(record)
    ]
