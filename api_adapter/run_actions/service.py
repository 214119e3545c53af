"""Does what callers ask of runs, and says what has become of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Response

from api_adapter.addresses import dagster_run_id
from api_adapter.auth import Principal
from api_adapter.control import CancelOutcome, Idempotency, RetryOrder, RunOrder, StartedRun
from api_adapter.dependencies import Services
from api_adapter.errors import (
    InvalidRequestError,
    PipelineNotFoundError,
    RunFinishedError,
    RunNotFoundError,
    RunNotRetryableError,
)
from api_adapter.idempotency import tell_replay
from api_adapter.responses import json_response
from api_adapter.run_actions.schemas import (
    CancelAnswer,
    CanceledRun,
    CancelManyAnswer,
    CancelManyMeta,
    CancelManyRequest,
    RetryRequest,
    RunAccepted,
    RunRequest,
)
from api_adapter.runs.filters import parse_filter
from api_adapter.runs.service import read_run
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.contract.starting import hash_request


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A run that was put into the queue, now or (`replayed`) by an earlier request."""

    run: RunAccepted
    dagster_id: str
    replayed: bool

    @property
    def headers(self) -> Mapping[str, str]:
        """What the headers of the answer say of it."""
        return {"Location": f"/api/runs/{self.run.run_id}", **tell_replay(replayed=self.replayed)}


def start_run(
    services: Services, *, principal: Principal, pipeline_id: str, request: RunRequest, key: str | None
) -> Accepted:
    """Queue a run of a pipeline; with a key, the run that it stands for already."""
    if not principal.may_see(pipeline_id):
        raise PipelineNotFoundError(pipeline_id)
    asked = request.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    order = RunOrder(
        pipeline_id=pipeline_id,
        variables=request.variables,
        environment_id=request.environment_id,
        nodes=request.nodes,
        priority=request.priority,
        trigger="api",
        user=principal.name,
        idempotency=Idempotency(key=key, request_hash=hash_request(asked)) if key is not None else None,
    )
    started = services.control.start(order, at=services.clock())
    return _accepted(services, started, pipeline_id=pipeline_id)


def retry_run(
    services: Services, *, principal: Principal, run_id: str, request: RetryRequest, key: str | None
) -> Accepted:
    """Queue a retry of a run that has failed or was canceled; `RunNotRetryableError` of any other."""
    found = services.storage.read_nodes(dagster_run_id(run_id))
    if found is None or not principal.may_see(found[0].pipeline_id):
        raise RunNotFoundError(run_id)
    run, nodes = found
    if run.status not in {"failed", "canceled"}:
        raise RunNotRetryableError.of_status(run.id, status=run.status)
    order = RetryOrder(
        parent_id=run.dagster_id,
        pipeline_id=run.pipeline_id,
        from_failure=request.from_failure,
        nodes=[node.node_id for node in nodes],
        succeeded=[node.node_id for node in nodes if node.status == "succeeded"],
        user=principal.name,
        key=key,
        request_hash=hash_request(request.model_dump(mode="json", by_alias=True)),
    )
    started = services.control.retry(order, at=services.clock())
    return _accepted(services, started, pipeline_id=run.pipeline_id)


def _accepted(services: Services, started: StartedRun, *, pipeline_id: str) -> Accepted:
    found = services.storage.read_statuses([started.dagster_id]) if started.replayed else {}
    run = RunAccepted(
        run_id=encode_run_id(started.dagster_id),
        pipeline_id=pipeline_id,
        status=found.get(started.dagster_id, "queued"),
        queued_at=started.queued_at,
    )
    return Accepted(run=run, dagster_id=started.dagster_id, replayed=started.replayed)


def answer_end(services: Services, *, accepted: Accepted, ended: bool) -> Response:
    """Return the run in full if it has ended, else how far it has come."""
    state = services.storage.read_state(accepted.dagster_id)
    if state is None:  # it was deleted just now
        raise RunNotFoundError(accepted.run.run_id)
    if ended:
        return json_response(read_run(services, state=state))
    return json_response(accepted.run.model_copy(update={"status": state.run.status}), status=202)


def cancel_run(services: Services, *, principal: Principal, run_id: str) -> CancelAnswer:
    """Ask that a run be canceled; `RunFinishedError` if it has already succeeded or failed."""
    dagster_id = dagster_run_id(run_id)
    run = services.storage.read_run(dagster_id)
    if run is None or not principal.may_see(run.pipeline_id):
        raise RunNotFoundError(run_id)
    match services.control.cancel(dagster_id, user=principal.name, at=services.clock()):
        case "unknown":  # it was deleted just now
            raise RunNotFoundError(run_id)
        case "succeeded" | "failed" as ended:
            raise RunFinishedError(run.id, final_status=ended, status=services.settings.cancel_finished_status)
        case "canceled":
            return CancelAnswer(id=run.id, status="canceled", message="The run is already canceled.")
    return CancelAnswer(
        id=run.id,
        status="cancel_requested",
        message="Cancellation accepted; workers stop after their current safe point.",
    )


def cancel_runs(services: Services, *, principal: Principal, request: CancelManyRequest) -> CancelManyAnswer:
    """Ask that the runs of some kind be canceled, as many as the request allows; only those that the caller sees."""
    criteria = (request.pipeline_id, request.status, request.trigger, request.date_range, request.start, request.end)
    if all(criterion is None for criterion in criteria):
        raise InvalidRequestError.of_field("body", 'must say which runs; {"status": ["queued", "running"]} are all')
    filter_by = parse_filter(
        pipeline_id=request.pipeline_id,
        status=request.status or ("queued", "running"),
        trigger=request.trigger or (),
        date_range=request.date_range,
        start=request.start,
        end=request.end,
        visible=principal.pipelines,
    )
    runs = services.storage.list_runs(filter_by, limit=request.limit)
    told = {run.dagster_id: CanceledRun(id=run.id, status=run.status) for run in runs}
    outcomes: Mapping[str, CancelOutcome] = {}
    if not request.dry_run:
        outcomes = services.control.cancel_many(list(told), user=principal.name, at=services.clock())
        told = {
            run_id: one.model_copy(update={"status": _MET.get(outcome, outcome)})
            for run_id, one in told.items()
            if (outcome := outcomes[run_id]) != "unknown"  # it was deleted just now
        }
    matched = len(runs)
    if matched == request.limit:
        matched = max(matched, sum(services.storage.read_statistics(filter_by).by_status.values()))
    requested = sum(outcome == "requested" for outcome in outcomes.values())
    meta = CancelManyMeta(matched=matched, requested=requested, dry_run=request.dry_run)
    return CancelManyAnswer(data=list(told.values()), meta=meta)


_MET: Mapping[str, str] = {"requested": "cancel_requested"}
