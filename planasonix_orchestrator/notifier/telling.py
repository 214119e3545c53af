"""Puts a run and what happened to it into the words of a message: those of the API's run detail, as far as they go."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.failures import read_error, read_run_failure
from planasonix_orchestrator.contract.ids import PIPELINE_PREFIX, api_run_id
from planasonix_orchestrator.contract.metadata import RUN_ERROR
from planasonix_orchestrator.contract.names import decode_name
from planasonix_orchestrator.contract.origins import is_reexecution, tell_origin
from planasonix_orchestrator.contract.webhooks import RunEvent, write_moment

# The events of Dagster's log that are told of.
EVENTS: Final[Mapping[str, RunEvent]] = {
    "PIPELINE_START": "run.started",
    "PIPELINE_SUCCESS": "run.succeeded",
    "PIPELINE_FAILURE": "run.failed",
    "PIPELINE_CANCELED": "run.canceled",
}
_STATUSES: Final[Mapping[RunEvent, str]] = {
    "run.started": "running",
    "run.succeeded": "succeeded",
    "run.failed": "failed",
    "run.canceled": "canceled",
}
_WAITING: Final = frozenset({"NOT_STARTED", "QUEUED", "MANAGED", "STARTING"})
_LONGEST_MESSAGE: Final = 4000
_UNREADABLE: Final = "The run failed, and what is on record of it can't be read."


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run as Dagster's tables have it; `status` is Dagster's word."""

    run_id: str
    job_name: str
    status: str
    created_at: datetime
    started_at: datetime | None
    tags: Mapping[str, str]

    @property
    def id(self) -> str:
        """The API's id."""
        return api_run_id(self.run_id)

    @property
    def pipeline_id(self) -> str:
        """The pipeline's id; of a job that was not compiled by us it is derived from the job's name."""
        return self.tags.get(tag_names.PIPELINE_ID) or PIPELINE_PREFIX + self.job_name

    @property
    def deadline(self) -> datetime | None:
        """By when the run should have ended; None if nobody has said, or what is said is no moment."""
        text = self.tags.get(tag_names.DEADLINE)
        if text is None or is_reexecution(self.tags, run_id=self.run_id):
            return None
        try:  # anybody can write anything into a tag in the Dagster UI
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened to a run: `key` tells it from all others of the run. `entry` is Dagster's, as JSON."""

    type: RunEvent
    key: str
    at: datetime
    run: RunFacts
    event_id: int | None = None
    entry: str | None = None


def tell(happening: Happening) -> dict[str, Any]:
    """Return the `data` of a message."""
    run, ended = happening.run, happening.type in {"run.succeeded", "run.failed", "run.canceled"}
    started_at = happening.at if happening.type == "run.started" else run.started_at
    until = happening.at if ended or happening.type == "run.late" else None
    seconds = max((until - started_at).total_seconds(), 0.0) if until and started_at else None
    return {
        "id": run.id,
        "pipelineId": run.pipeline_id,
        "pipelineName": decode_name(run.job_name),
        "environmentId": run.tags.get(tag_names.ENVIRONMENT_ID),
        "status": _STATUSES.get(happening.type) or ("queued" if run.status in _WAITING else "running"),
        "trigger": tell_origin(run.tags, run_id=run.run_id),
        "startedAt": _moment(started_at),
        "finishedAt": _moment(happening.at if ended else None),
        "durationSeconds": None if seconds is None else round(seconds, 3),
        "deadline": _moment(run.deadline),
        "error": _error(happening) if happening.type == "run.failed" else None,
    }


def _error(happening: Happening) -> dict[str, str | None]:
    """Return why a run failed: what the node has said that made it fail, or the run as a whole."""
    try:
        return _read_error(json.loads(happening.entry or "{}"))
    except (AttributeError, KeyError, TypeError, ValueError):
        # One entry that is not as Dagster writes them must not keep all that follow it from being told.
        return {"message": _UNREADABLE, "code": RUN_ERROR, "nodeId": None}


def _read_error(entry: Mapping[str, Any]) -> dict[str, str | None]:
    event = entry.get("dagster_event") or {}
    data = event.get("event_specific_data") or {}
    step = data.get("first_step_failure_event") or {}
    of_node = read_error(step.get("event_specific_data") or {})
    if of_node is not None and not of_node.is_interruption:
        node_id = of_node.node_id or decode_name(str(step.get("step_key") or "").partition("[")[0])
        return {"message": of_node.message[:_LONGEST_MESSAGE], "code": of_node.code, "nodeId": node_id or None}
    of_run = read_run_failure(data, message=str(event.get("message") or ""))
    return {"message": of_run.message[:_LONGEST_MESSAGE], "code": of_run.code, "nodeId": None}


def _moment(moment: datetime | None) -> str | None:
    return write_moment(moment) if moment else None
