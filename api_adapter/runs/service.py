"""Tells runs in the API's words: puts what storage reads into the shapes of `schemas`."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from api_adapter.addresses import dagster_run_id
from api_adapter.auth import Principal
from api_adapter.caching import Validator
from api_adapter.dependencies import Services
from api_adapter.errors import (
    PipelineNotFoundError,
    RunNotFoundError,
    StackNotFoundError,
)
from api_adapter.pagination import decode_cursor, encode_cursor
from api_adapter.runs.schemas import (
    CanceledBy,
    Counts,
    Day,
    Durations,
    ExecutionStatus,
    Progress,
    RunDetail,
    RunStats,
    TriggeredRun,
)
from api_adapter.runs.telling import tell_error, tell_metrics, tell_trigger, tell_variables
from api_adapter.runs.writing import write_nodes, write_runs
from api_adapter.storage import RunFilter, RunRecord, RunState, RunStatus, RunStory
from api_adapter.timestamps import parse_timestamp
from planasonix_orchestrator.contract import tags as tag_names


def list_runs(services: Services, *, filter_by: RunFilter, limit: int, cursor: str | None) -> bytes:
    """Return a page of runs, newest first: a `RunList` in JSON."""
    below = decode_cursor(cursor, scope=filter_by.scope) if cursor is not None else None
    runs = services.storage.list_runs(filter_by, limit=limit + 1, below=below)
    more = len(runs) > limit
    page = runs[:limit]
    behind = encode_cursor(page[-1].position, scope=filter_by.scope) if more else None
    return write_runs(page, cursor=behind, now=services.clock())


def read_run(services: Services, *, state: RunState) -> RunDetail:
    """Return a run in full."""
    story = services.storage.read_story(state.run.dagster_id, known=state)
    if story is None:  # it was deleted just now
        raise RunNotFoundError(state.run.id)
    run, now = story.run, services.clock()
    cancel = _cancel_tags(run)
    return RunDetail(
        id=run.id,
        pipeline_id=run.pipeline_id,
        pipeline_name=run.pipeline_name,
        pipeline_version=run.tags.get(tag_names.PIPELINE_VERSION),
        environment_id=run.tags.get(tag_names.ENVIRONMENT_ID),
        status=run.status,
        trigger=tell_trigger(run),
        queued_at=run.queued_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        duration_seconds=run.duration_at(now),
        variables=tell_variables(story.config),
        metrics=tell_metrics(story.nodes, weights=services.settings.cost_units),
        error=tell_error(story),
        retry_of=run.parent_id,
        cancel_requested_at=_cancel_requested_at(cancel) or story.end.cancel_requested_at,
        cancel_requested_by=cancel.get(tag_names.CANCEL_REQUESTED_BY),
        canceled_by=_canceled_by(story, told=cancel.get(tag_names.CANCELED_BY)),
        triggered_runs=[TriggeredRun(id=each.id, pipeline_id=each.pipeline_id) for each in state.triggered],
    )


def read_nodes(services: Services, *, state: RunState) -> bytes:
    """Return every node of a run: a `RunNodes` in JSON."""
    found = services.storage.read_nodes(state.run.dagster_id, known=state)
    if found is None:  # it was deleted just now
        raise RunNotFoundError(state.run.id)
    run, nodes = found
    return write_nodes(nodes, run_id=run.id, now=services.clock())


def read_state(services: Services, *, principal: Principal, run_id: str) -> RunState:
    """Return a run as far as its state goes, and for this caller; `RunNotFoundError` if he may not see it."""
    state = services.storage.read_state(dagster_run_id(run_id))
    if state is None or not principal.may_see(state.run.pipeline_id):
        raise RunNotFoundError(run_id)
    return replace(state, triggered=tuple(each for each in state.triggered if principal.may_see(each.pipeline_id)))


def validator_of(services: Services, *, state: RunState) -> Validator | None:
    """Return what all that is told of a finished run depends on; None while the run goes on."""
    run, weights = state.run, services.settings.cost_units
    if not run.finished:
        return None
    # Tags come and change also after the end: by hand, or who asked for the cancellation.
    tags, costs = (repr(sorted(one.items())) for one in (run.tags, weights))
    triggered = repr([each.id for each in state.triggered])
    return run.dagster_status, state.last_event, run.started_at, run.finished_at, tags, costs, triggered


def read_stack(services: Services, *, state: RunState, node_id: str | None) -> str:
    """Return the stack of a node's last error, or of the run's own; `StackNotFoundError` if there is none."""
    story = services.storage.read_story(state.run.dagster_id, known=state)
    errors = {node.node_id: node.error for node in story.nodes} if story else {}
    error = (story.end.failure if story else None) if node_id is None else errors.get(node_id)
    if error is None or not error.stack:
        raise StackNotFoundError(state.run.id)
    return "".join(error.stack)


def read_stats(services: Services, *, filter_by: RunFilter) -> RunStats:
    """Return how the runs that pass the filter have gone; of the last 30 days, unless it says otherwise."""
    if filter_by.since is None and filter_by.until is None:
        filter_by = replace(filter_by, since=services.clock() - _STATS_RANGE)
    found = services.storage.read_statistics(filter_by)
    ended = found.by_status.get("succeeded", 0) + found.by_status.get("failed", 0)
    return RunStats(
        since=filter_by.since,
        until=filter_by.until,
        total=sum(found.by_status.values()),
        by_status=Counts.model_validate(found.by_status),
        by_day=[Day(day=day, by_status=Counts.model_validate(counts)) for day, counts in found.by_day],
        failure_rate=round(found.by_status.get("failed", 0) / ended, 4) if ended else None,
        duration_seconds=Durations(p50=found.p50, p95=found.p95),
    )


def read_execution_status(services: Services, *, principal: Principal, pipeline_id: str) -> ExecutionStatus:
    """Return the run of a pipeline that is in flight, else its last one; 404 if there is no such pipeline."""
    mine = RunFilter(pipeline_id=pipeline_id, visible=principal.pipelines)
    in_flight_first: tuple[tuple[RunStatus, ...], ...] = (("running",), ("queued",), ())
    for statuses in in_flight_first:
        runs = services.storage.list_runs(replace(mine, statuses=statuses), limit=1)
        if runs and (found := services.storage.read_nodes(runs[0].dagster_id)):
            run, nodes = found
            return ExecutionStatus(
                pipeline_id=pipeline_id,
                run_id=run.id,
                status=run.status,
                progress=Progress(completed_nodes=sum(node.status in _ENDED for node in nodes), total_nodes=len(nodes)),
                started_at=run.started_at,
            )
    if not principal.may_see(pipeline_id):
        raise PipelineNotFoundError(pipeline_id)
    pipeline = services.control.catalog().get(pipeline_id)
    return ExecutionStatus(
        pipeline_id=pipeline_id,
        run_id=None,
        status=None,
        progress=Progress(completed_nodes=0, total_nodes=len(pipeline["document"].get("nodes", ()))),
        started_at=None,
    )


_STATS_RANGE = timedelta(days=30)
_ENDED = frozenset({"succeeded", "failed", "skipped", "canceled"})


def _cancel_tags(run: RunRecord) -> Mapping[str, str]:
    """Return the tags that tell of a wish to cancel this run; not those that it has taken over from its parent."""
    if tag_names.CANCEL_OF in run.tags:
        return run.tags if run.tags[tag_names.CANCEL_OF] == run.dagster_id else {}
    requested_at = _cancel_requested_at(run.tags)
    return run.tags if requested_at and requested_at >= run.queued_at - _CLOCKS_APART else {}


def _cancel_requested_at(tags: Mapping[str, str]) -> datetime | None:
    try:
        return parse_timestamp(tags.get(tag_names.CANCEL_REQUESTED_AT, ""))
    except ValueError:  # anybody can write anything into a tag in the Dagster UI
        return None


_CLOCKS_APART = timedelta(seconds=1)


def _canceled_by(story: RunStory, *, told: str | None) -> CanceledBy | None:
    if story.run.status != "canceled":
        return None
    known: dict[str, CanceledBy] = {"user": "user", "system": "system", "superseded": "superseded"}
    return known.get(told or "") or story.end.canceled_by or "user"
