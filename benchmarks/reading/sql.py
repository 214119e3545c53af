"""Asks Postgres over one connection, with the statements that a careful hand would write for one question each."""

import json
from datetime import UTC, datetime
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812  (it is a class)

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

_RUN = "id, run_id, pipeline_name, status, create_timestamp, start_time, end_time"
_OF_NODE = "run_id = %(run)s AND id > %(after)s AND step_key = %(node)s"
# Compared as rows: by id alone, Postgres walks the primary key through the events of other runs.
_OF_RUN = f"""
    (run_id, id) > (%(run)s, %(after)s) AND (run_id, id) < (%(run)s, {(1 << 63) - 1}) AND step_key IS NOT NULL"""
_TAGS = "SELECT run_id, key, value FROM run_tags WHERE run_id = ANY(%s)"
_ONE = f"SELECT {_RUN} FROM runs WHERE run_id = %s"
_STEPS = """
SELECT dagster_event_type, step_key, event FROM event_logs
WHERE run_id = %s AND dagster_event_type IN ('STEP_START', 'STEP_OUTPUT', 'STEP_SUCCESS', 'STEP_FAILURE')
ORDER BY id"""
# The runs that were made before a moment are those up to an id, which halving finds: no index has the dates.
_LAST_BEFORE = """
WITH RECURSIVE halving(low, high) AS (
    SELECT 0::bigint, (SELECT max(id) FROM runs)
    UNION ALL
    SELECT CASE WHEN create_timestamp < %(until)s THEN (low + high + 1) / 2 ELSE low END,
           CASE WHEN create_timestamp < %(until)s THEN high ELSE id - 1 END
    FROM halving CROSS JOIN LATERAL (
        SELECT id, create_timestamp FROM runs WHERE id <= (low + high + 1) / 2 ORDER BY id DESC LIMIT 1
    ) AS probe
    WHERE low < high
)
SELECT low FROM halving WHERE low >= high"""


class SqlReader:
    """Plain SQL through psycopg2."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(self, query: PageQuery) -> Reading[RunFacts]:
        """Ask for a page of runs and their tags."""
        wished: list[tuple[str, Any]] = [
            ("pipeline_name = %(job)s", query.job_name),
            ("status = ANY(%(statuses)s)", query.dagster_statuses),
            ("id < (SELECT id FROM runs WHERE run_id = %(after)s)", query.after),
            (f"id <= ({_LAST_BEFORE})", query.until),
            ("coalesce(to_timestamp(start_time), create_timestamp AT TIME ZONE 'UTC') >= %(since)s", query.since),
        ]
        conditions = [text for text, value in wished if value] or ["true"]
        values = {
            "job": query.job_name,
            "statuses": query.dagster_statuses,
            "after": query.after,
            "since": query.since,
            "until": query.until.astimezone(UTC).replace(tzinfo=None) if query.until else None,
        }
        text = f"SELECT {_RUN} FROM runs WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT {PAGE}"
        return Reading(fetch=lambda: self._runs_and_tags(text, values), tell=_runs)

    def run(self, dagster_id: str) -> Reading[RunDetailFacts]:
        """Ask for a run and its step events."""
        return Reading(
            fetch=lambda: (self._runs_and_tags(_ONE, [dagster_id]), self._rows(_STEPS, [dagster_id])),
            tell=_detail,
        )

    def nodes(self, dagster_id: str) -> Reading[NodeFacts]:
        """Ask for the step events of a run."""
        return Reading(fetch=lambda: self._rows(_STEPS, [dagster_id]), tell=_nodes)

    def log(self, dagster_id: str, *, after: int = 0, node: str | None = None) -> Reading[LineFacts]:
        """Ask for a page of what nodes have logged, behind an event, of one node or all."""
        text = f"""
            SELECT id, event FROM event_logs
            WHERE {_OF_NODE if node else _OF_RUN} AND dagster_event_type IS NULL
            ORDER BY run_id, id LIMIT {LOG_PAGE}"""
        values = {"run": dagster_id, "after": after, "node": node}
        return Reading(fetch=lambda: self._rows(text, values), tell=_lines)

    def event_before(self, dagster_id: str, *, line: LineFacts) -> int:
        """Return the id of the last event of a run before the one that logged a line."""
        ((before,),) = self._rows(
            """SELECT max(id) FROM event_logs WHERE run_id = %(run)s AND id < (
                SELECT id FROM event_logs
                WHERE run_id = %(run)s AND step_key = %(node)s AND strpos(event, %(message)s) > 0)""",
            {"run": dagster_id, "node": line.node_id, "message": json.dumps(line.message)},
        )
        return int(before)

    def gap_before(self, moment: datetime) -> datetime:
        """Return a moment not after the given one at which no run was waiting to start.

        Where a range ends at such a moment, it holds the same runs whether creations or starts are compared.
        """
        ((gap,),) = self._rows(
            """SELECT max(next) FROM (
                SELECT lead(create_timestamp) OVER (ORDER BY id) AS next,
                       max(coalesce(to_timestamp(start_time) AT TIME ZONE 'UTC', create_timestamp))
                           OVER (ORDER BY id) AS started
                FROM runs WHERE create_timestamp BETWEEN %(moment)s - interval '3 days' AND %(moment)s
            ) AS neighbours WHERE started < next""",
            {"moment": moment.astimezone(UTC).replace(tzinfo=None)},
        )
        found: datetime = gap
        return found.replace(tzinfo=UTC)

    def _runs_and_tags(self, text: str, values: Any) -> tuple[list[Any], list[Any]]:
        runs = self._rows(text, values)
        return runs, self._rows(_TAGS, [[run[1] for run in runs]])

    def _rows(self, text: str, values: Any) -> list[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(text, values)
            return cursor.fetchall()


def _runs(answer: tuple[list[Any], list[Any]]) -> list[RunFacts]:
    rows, tags = answer
    by_run: dict[str, dict[str, str]] = {}
    for run_id, key, value in tags:
        by_run.setdefault(run_id, {})[key] = value
    return [
        run_facts(dagster_id=run_id, status=status, tags=by_run[run_id], started_at=started, finished_at=finished)
        for _id, run_id, _job, status, _created, started, finished in rows
    ]


def _detail(answer: Any) -> list[RunDetailFacts]:
    (runs, tags), steps = answer
    (run,) = _runs((runs, tags))
    read, written = row_totals(_nodes(steps))
    queued_at = runs[0][4].replace(tzinfo=UTC).timestamp()
    return [RunDetailFacts(run=run, queued_at=queued_at, rows_read=read, rows_written=written)]


def _nodes(rows: list[Any]) -> list[NodeFacts]:
    told: dict[str, dict[str, Any]] = {}
    for event_type, step, text in rows:
        event = json.loads(text)
        node = told.setdefault(step, {})
        if event_type == "STEP_START":
            node["started_at"] = event["timestamp"]
        elif event_type == "STEP_OUTPUT":
            entries = event["dagster_event"]["event_specific_data"]["metadata_entries"]
            figures = {entry["label"]: entry["entry_data"].get("value") for entry in entries}
            node |= row_counts({label: value for label, value in figures.items() if isinstance(value, int)})
        else:
            node["finished_at"] = event["timestamp"]
            node["status"] = "succeeded" if event_type == "STEP_SUCCESS" else "failed"
    return [NodeFacts(node_id=step, **node) for step, node in told.items()]


def _lines(rows: list[Any]) -> list[LineFacts]:
    events = (json.loads(text) for _id, text in rows)
    return [
        LineFacts(node_id=event["step_key"], message=event["user_message"], logged_at=event["timestamp"])
        for event in events
    ]
