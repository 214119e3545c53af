"""Lines in the event log, written as Dagster would."""

import json
from datetime import UTC, datetime

import psycopg2

_MOMENT = datetime(2025, 3, 27, 2, tzinfo=UTC)


def log(
    connection: psycopg2.extensions.connection,
    *,
    run_id: str,
    message: str,
    level: int = 20,
    step_key: str | None = None,
    at: datetime = _MOMENT,
) -> None:
    """Write what a node has logged, and leave the transaction open."""
    event = json.dumps(
        {
            "__class__": "EventLogEntry",
            "dagster_event": None,
            "level": level,
            "timestamp": at.timestamp(),
            "user_message": message,
        }
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO event_logs (run_id, event, timestamp, step_key) VALUES (%s, %s, %s, %s)",
            (run_id, event, at.replace(tzinfo=None), step_key),
        )


def write_events(url: str, *, run_id: str, number: int, length: int = 0) -> None:
    """Write many lines, ``line 0`` and on, each with so many characters more."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO event_logs (run_id, event, timestamp)
            SELECT %(run)s, json_build_object(
                '__class__', 'EventLogEntry', 'dagster_event', null, 'level', 20, 'timestamp', 1743040800 + number,
                'user_message', 'line ' || number || repeat('.', %(length)s)
            )::text, to_timestamp(1743040800 + number) AT TIME ZONE 'UTC'
            FROM generate_series(0, %(number)s - 1) AS number ORDER BY number""",
            {"run": run_id, "number": number, "length": length},
        )
    connection.close()
