"""Dagster's tables, as far as they are read here.

Source: dagster/_core/storage/runs/schema.py and event_log/schema.py of Dagster 1.13. Declared again, because a
light `table` has all that a select needs and Dagster's own are private; the contract suite runs them against the
installed Dagster.
"""

from sqlalchemy import DateTime, Integer, LargeBinary, String, column, table
from sqlalchemy.types import Float

RUNS = table(
    "runs",
    column("id", Integer),
    column("run_id", String),
    column("snapshot_id", String),
    column("pipeline_name", String),  # the job
    column("status", String),
    column("create_timestamp", DateTime),  # naive, in the time zone of the session that wrote it
    column("start_time", Float),  # unix seconds
    column("end_time", Float),
)

RUN_TAGS = table(
    "run_tags", column("id", Integer), column("run_id", String), column("key", String), column("value", String)
)

SNAPSHOTS = table(
    "snapshots",
    column("snapshot_id", String),
    column("snapshot_body", LargeBinary),  # zlib-compressed JSON
)

EVENTS = table(
    "event_logs",
    column("id", Integer),
    column("run_id", String),
    column("event", String),  # JSON of an EventLogEntry
    column("dagster_event_type", String),  # null for what user code has logged
    column("timestamp", DateTime),  # naive, UTC
    column("step_key", String),
)

HEARTBEATS = table("daemon_heartbeats", column("daemon_type", String), column("timestamp", DateTime))  # naive, UTC
