"""Indexes of our own on Dagster's tables, without which some lists get slower the more runs there are.

Dagster knows nothing of them, and its migrations leave them alone. They are made without locking anybody out. Where
the database user may not make them, everything works all the same.
"""

import logging
from dataclasses import dataclass

from psycopg2 import ProgrammingError

from api_adapter.storage.database import Connection
from api_adapter.storage.outline import LONG_WAIT
from api_adapter.storage.story import STORY_CONDITION

logger = logging.getLogger("api_adapter")

_LOCK = 7_305_512_208  # of Postgres' advisory locks: one process at a time makes indexes


@dataclass(frozen=True, slots=True)
class Index:
    """An index: its name, and its table with columns and condition."""

    name: str
    of: str


INDEXES = (
    # Runs in some state, newest first; of one job.
    Index("planasonix_runs_status", "runs (status, id)"),
    Index("planasonix_runs_job_status", "runs (pipeline_name, status, id)"),
    # Runs that began long after they were made, which a list by date finds nowhere else.
    Index("planasonix_runs_long_waits", f"runs (id) WHERE {LONG_WAIT}"),
    # The few events of a run that tell its story, among the many lines that its nodes have logged.
    Index("planasonix_events_story", f"event_logs (run_id, id) WHERE {STORY_CONDITION}"),
    # One node's lines. The step comes first: only then can the index be read from (run_id, id) on; see `logs`.
    Index("planasonix_events_node", "event_logs (step_key, run_id, id)"),
)

_INVALID = """
SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE NOT indisvalid AND relname = ANY(%(names)s) AND pg_table_is_visible(pg_class.oid)"""


def create_indexes(connection: Connection) -> None:
    """Make the indexes that are missing, and again those whose making was broken off. Outside any transaction."""
    connection.rows("SELECT pg_advisory_lock(%(lock)s)", {"lock": _LOCK})
    try:
        for row in connection.rows(_INVALID, {"names": [index.name for index in INDEXES]}):
            connection.do(f"DROP INDEX CONCURRENTLY IF EXISTS {row.relname}")
        for index in INDEXES:
            connection.do(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index.name} ON {index.of}")
    except ProgrammingError as error:  # this user does not own the tables
        logger.warning("lists are slower without indexes of ours on Dagster's tables: %s", error)
    finally:
        connection.rows("SELECT pg_advisory_unlock(%(lock)s)", {"lock": _LOCK})
