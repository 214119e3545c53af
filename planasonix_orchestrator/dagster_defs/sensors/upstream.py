"""The sensor of an upstream trigger: reads how runs of other pipelines end, and starts a run for each, or for all."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from dagster import (
    DagsterInstance,
    MetadataValue,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
)
from sqlalchemy import Connection

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.contract.upstream import (
    AWAITED,
    END_TYPES,
    ENDED_AS,
    NEW_ENDS,
    UpstreamCursor,
    awaited_ends,
    ends_parameters,
)
from planasonix_orchestrator.dagster_defs.run_requests import request_run
from planasonix_orchestrator.dagster_defs.sensors.place import SensorPlace, initial_status
from planasonix_orchestrator.graph.triggers import UpstreamConfig, UpstreamTrigger

# Without news: our daemon has it look at once when a run has ended that it waits for (`runtime.news`).
SECONDS_BETWEEN_LOOKS: Final = 60
MOST_AT_ONCE: Final = 500  # ends that one look handles; the next look goes on behind them
_LOOK_BACK: Final = 1000  # ids before the first end that may count: far more than can be in flight at once


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """The end of an upstream run. `id` is that of the event that tells it, `ended_as` the status in the API's words."""

    id: int
    run_id: str
    pipeline_id: str
    environment_id: str | None
    ended_as: str


def build_upstream_sensor(trigger: UpstreamTrigger, plan: PipelinePlan, place: SensorPlace) -> SensorDefinition:
    """Return the sensor that starts a run of the plan for the ends that the trigger waits for."""

    def evaluate(context: SensorEvaluationContext) -> SensorResult:
        cursor, ends = look(
            context.instance,
            cursor=_read_cursor(context.cursor),
            switched_on=context.last_sensor_start_time,
            config=trigger.config,
        )
        cursor, causes = choose_causes(ends, cursor=cursor, config=trigger.config)
        requests = _Requests(trigger, plan, place)
        said = None if causes else f"No run of {_names(trigger.config)} {_ended(trigger.config)} since the last look."
        return SensorResult(
            run_requests=[requests.for_end(end) for end in causes], skip_reason=said, cursor=cursor.to_json()
        )

    awaited = awaited_ends(trigger.config.upstream_ids, on=trigger.config.on)
    return SensorDefinition(
        name=encode_name(trigger.id),
        job_name=plan.job_name,
        evaluation_fn=evaluate,
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        description=f"{trigger.name or trigger.id}: starts the pipeline when runs of {_names(trigger.config)} "
        f"{_ended(trigger.config)}.",
        metadata={AWAITED: MetadataValue.json(awaited)},
        default_status=initial_status(trigger),
    )


def look(
    instance: DagsterInstance, *, cursor: UpstreamCursor | None, switched_on: float | None, config: UpstreamConfig
) -> tuple[UpstreamCursor, list[RunEnd]]:
    """Return the ends that are new to the cursor, at most `MOST_AT_ONCE`, and the cursor behind them.

    Without a cursor, or with one from before the trigger was switched on (Unix seconds), it begins at that moment; now,
    where nobody knows it: in a trial from the Dagster UI.
    """
    with _connection(instance) as connection:
        if cursor is None or switched_on not in {cursor.since, None}:
            since = time.time() if switched_on is None else switched_on
            cursor = UpstreamCursor(since=since, floor=_first_floor(connection, since))
        cursor, settled = _settle(connection, cursor)
        awaited = awaited_ends(config.upstream_ids, on=config.on)
        parameters = ends_parameters(cursor, awaited=awaited, most=MOST_AT_ONCE)
        rows = connection.exec_driver_sql(NEW_ENDS, parameters).all()
    ends = [
        RunEnd(
            id=row.id,
            run_id=row.run_id,
            pipeline_id=row.pipeline_id,
            environment_id=row.environment_id,
            ended_as=ENDED_AS[row.dagster_event_type],
        )
        for row in rows
    ]
    more = len(ends) == MOST_AT_ONCE
    if more:
        settled = min(settled, ends[-1].id)
    floor = max(cursor.floor, settled)
    seen = (*cursor.seen, *(end.id for end in ends))
    return replace(cursor, floor=floor, seen=tuple(id_ for id_ in seen if id_ > floor), more=more), ends


def choose_causes(
    ends: list[RunEnd], *, cursor: UpstreamCursor, config: UpstreamConfig
) -> tuple[UpstreamCursor, list[RunEnd]]:
    """Return the ends for each of which a run is to start, and the cursor that remembers those that wait for others."""
    if config.mode == "any":
        return cursor, ends
    awaited = set(config.upstream_ids)
    met = {environment: dict(runs) for environment, runs in cursor.met.items()}
    causes = []
    for end in ends:
        of_environment = met.setdefault(end.environment_id or "", {})
        of_environment[end.pipeline_id] = end.run_id
        if awaited <= of_environment.keys():
            causes.append(end)
            of_environment.clear()
    return replace(cursor, met={environment: runs for environment, runs in met.items() if runs}), causes


class _Requests:
    """Makes the requests of a trigger; what they have in common is resolved once for each environment."""

    def __init__(self, trigger: UpstreamTrigger, plan: PipelinePlan, place: SensorPlace) -> None:
        self._trigger, self._plan, self._place = trigger, plan, place
        self._resolved: dict[str | None, RunRequest] = {}

    def for_end(self, end: RunEnd) -> RunRequest:
        """Return the request for a run: unless the trigger names another, in the environment of the one that ended."""
        common = self._resolved.get(end.environment_id) or self._resolve(end.environment_id)
        told = {tags.UPSTREAM_RUN: end.run_id, tags.EVENT_SUMMARY: f"{end.pipeline_id} {end.ended_as}"}
        return common.with_replaced_attrs(run_key=end.run_id, tags={**common.tags, **told})

    def _resolve(self, environment_id: str | None) -> RunRequest:
        common = request_run(
            self._plan,
            environments=self._place.surroundings.environments,
            variables=self._trigger.variables,
            environment_id=self._trigger.environment_id or environment_id,
            run_key="",
            tags={tags.TRIGGER: "sensor", tags.TRIGGER_ID: self._trigger.id},
        )
        self._resolved[environment_id] = common
        return common


def _settle(connection: Connection, cursor: UpstreamCursor) -> tuple[UpstreamCursor, int]:
    """Return an id up to which each event is visible from now on, or will never come, and a cursor to find the next by.

    Ids become visible out of order. Each is drawn by a transaction that holds the lock of writers from before that
    until the event is visible: when all that were at work at some moment have ended, nothing is missing below the
    newest event of then.
    """
    row = connection.exec_driver_sql(_WRITERS).one()
    if not row.writers:
        return replace(cursor, settling=0, writers=()), row.newest
    if cursor.settling and not set(cursor.writers) & set(row.writers):
        return replace(cursor, settling=row.newest, writers=tuple(row.writers)), cursor.settling
    if cursor.settling:
        return cursor, cursor.floor
    return replace(cursor, settling=row.newest, writers=tuple(row.writers)), cursor.floor


def _first_floor(connection: Connection, since: float) -> int:
    types = sorted({each for several in END_TYPES.values() for each in several})
    found = connection.exec_driver_sql(_LAST_BEFORE, {"types": types, "since": since}).scalar_one()
    return max((found or 0) - _LOOK_BACK, 0)


@contextmanager
def _connection(instance: DagsterInstance) -> Iterator[Connection]:
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # of the storages that are SQL
        yield connection


def _read_cursor(text: str | None) -> UpstreamCursor | None:
    return UpstreamCursor.from_json(text) if text else None


def _names(config: UpstreamConfig) -> str:
    return (" and " if config.mode == "all" else " or ").join(config.upstream_ids)


def _ended(config: UpstreamConfig) -> str:
    words: Mapping[str, Any] = {"succeeded": "succeeded", "failed": "failed", "finished": "ended"}
    return f"has {words[config.on]}"


# The statement has taken its snapshot before it looks at the locks, and each statement has its own.
_WRITERS: Final = """
SELECT coalesce((SELECT max(id) FROM event_logs), 0) AS newest, ARRAY(
    SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE relation = 'event_logs'::regclass AND mode = 'RowExclusiveLock' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS writers"""
_LAST_BEFORE: Final = """
SELECT max((
    SELECT id FROM event_logs
    WHERE dagster_event_type = type AND "timestamp" < to_timestamp(%(since)s) AT TIME ZONE 'UTC'
    ORDER BY id DESC LIMIT 1
)) FROM unnest(%(types)s) AS type"""
