"""The sensor of a SQL trigger: asks a database from time to time, and starts a run when the answer has become new."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256

from dagster import SensorDefinition, SensorEvaluationContext, SensorResult

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.contract.resolution import choose_environment
from planasonix_orchestrator.dagster_defs.run_requests import request_run
from planasonix_orchestrator.dagster_defs.sensors.place import SensorPlace, initial_status
from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.engine.polling import Poll, Polled, poll_above, poll_rows
from planasonix_orchestrator.graph.model import VariableValue
from planasonix_orchestrator.graph.triggers import SqlConfig, SqlTrigger

_LONGEST_ROWS = 256 * 1024  # characters of a variable: run configs are stored, and shown
_LONGEST_SUMMARY = 100


class InvalidCursorError(ValueError):
    """A cursor that this trigger has not written."""

    def __init__(self, text: str) -> None:
        super().__init__(f"not the cursor of a SQL trigger: {text[:100]!r}")


class RowsTooLargeError(ValueError):
    """Rows that do not fit into a variable."""

    def __init__(self, variable: str, *, size: int) -> None:
        super().__init__(
            f"the rows for variable {variable!r} are {size:,} characters of JSON, more than {_LONGEST_ROWS:,}; "
            "have the query yield less"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlCursor:
    """What a trigger has seen last: a watermark as text, or a digest of rows ('' for none).

    `changes` counts the answers that were new: rows that come back start a run again, with another key.
    """

    watermark: str | None = None
    digest: str = ""
    changes: int = 0

    def to_json(self) -> str:
        """Return the cursor as text."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "SqlCursor":
        """Return the cursor that `to_json` has written; `InvalidCursorError` for any other text."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise InvalidCursorError(text) from error


def build_sql_sensor(trigger: SqlTrigger, plan: PipelinePlan, place: SensorPlace) -> SensorDefinition:
    """Return the sensor that starts a run of the plan when the trigger's query yields something new."""
    config = trigger.config

    def evaluate(context: SensorEvaluationContext) -> SensorResult:
        is_first = not context.cursor
        before = SqlCursor() if is_first else SqlCursor.from_json(context.cursor or "")
        environments = place.surroundings.environments
        environment = choose_environment(environments, named=trigger.environment_id)
        bindings = environment["connections"] if environment else {}
        polled, after = ask(place.surroundings.connections.bound(bindings), config=config, before=before)
        if after.changes == before.changes:
            return SensorResult(skip_reason="The query yields nothing new.", cursor=after.to_json())
        if is_first and config.ignore_existing:
            said = "What the query yields already does not count."
            return SensorResult(skip_reason=said, cursor=after.to_json())
        request = request_run(
            plan,
            environments=environments,
            variables={**trigger.variables, **_variables(config, polled)},
            environment_id=trigger.environment_id,
            run_key=_run_key(config, after),
            tags={
                tags.TRIGGER: "sensor",
                tags.TRIGGER_ID: trigger.id,
                tags.EVENT_SUMMARY: _summary(config, polled),
            },
        )
        return SensorResult(run_requests=[request], cursor=after.to_json())

    return SensorDefinition(
        name=encode_name(trigger.id),
        job_name=plan.job_name,
        evaluation_fn=evaluate,
        minimum_interval_seconds=math.ceil(config.poll_interval_seconds),
        description=f"{trigger.name or trigger.id}: starts the pipeline when a query of {config.connection_id} yields "
        f"{'a higher ' + config.watermark_column if config.watermark_column else 'other rows'}.",
        default_status=initial_status(trigger),
    )


def ask(connections: Connections, *, config: SqlConfig, before: SqlCursor) -> tuple[Polled, SqlCursor]:
    """Return what the query yields now, and the cursor behind it, with one more of `changes` if there is news in it."""
    poll = Poll(connection_id=config.connection_id, query=config.query, timeout_seconds=config.timeout_seconds)
    if config.watermark_column is not None:
        polled = poll_above(
            connections,
            poll,
            column=config.watermark_column,
            above=before.watermark,
            with_rows=config.rows_variable is not None,
        )
        if polled.watermark is None:
            return polled, before
        return polled, replace(before, watermark=polled.watermark, changes=before.changes + 1)
    polled = poll_rows(connections, poll)
    digest = _digest(*sorted(polled.rows)) if polled.rows else ""
    is_news = bool(polled.rows) and digest != before.digest
    return polled, replace(before, digest=digest, changes=before.changes + is_news)


def _variables(config: SqlConfig, polled: Polled) -> Mapping[str, VariableValue]:
    variables: dict[str, VariableValue] = {}
    if config.watermark_variable is not None:
        variables[config.watermark_variable] = polled.watermark
    if config.rows_variable is not None:
        rows = f"[{','.join(polled.rows)}]"
        if len(rows) > _LONGEST_ROWS:
            raise RowsTooLargeError(config.rows_variable, size=len(rows))
        variables[config.rows_variable] = rows
    return variables


def _run_key(config: SqlConfig, cursor: SqlCursor) -> str:
    if config.watermark_column is not None:  # which comes once
        return _digest(config.query, config.watermark_column, cursor.watermark or "")
    return _digest(config.query, str(cursor.changes), cursor.digest)


def _summary(config: SqlConfig, polled: Polled) -> str:
    if config.watermark_column is not None:
        return f"{config.watermark_column} {polled.watermark}"[:_LONGEST_SUMMARY]
    return f"{len(polled.rows)} {'row' if len(polled.rows) == 1 else 'rows'}"


def _digest(*parts: str) -> str:
    return sha256(json.dumps(parts).encode()).hexdigest()[:32]
