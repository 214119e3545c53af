"""Fills a database whose schema Dagster has made: very many runs, and a few with very many events."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Thread

import psycopg2
from dagster import DagsterInstance
from psycopg2.extensions import connection as Connection  # noqa: N812  (it is a class)
from psycopg2.extensions import cursor as Cursor  # noqa: N812  (so is it)
from psycopg2.extras import execute_values

from benchmarks.record.jobs import BRANCH, build_benchmark_job, execute
from benchmarks.record.templates import TRIGGERS, RunTemplate, build_templates

VERSION = 1  # of what is seeded; another one makes it anew
RARE = 12  # the newest runs, which have not ended
_AT_A_TIME = 50_000
_BUFFER = 1 << 20
_TABLES = ("runs", "run_tags", "event_logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much to seed: runs, those of the newest that keep their events, and the lines of the long run."""

    runs: int
    jobs: int = 200
    runs_with_events: int = 2000
    long_log: int = 100_000
    wide_run: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """The Dagster ids of the runs that cases look at: of 20 nodes, of 500 nodes, and with the long log."""

    twenty: str
    wide: str
    long: str


def seed(url: str, *, instance: DagsterInstance, size: Size, until: datetime, folder: Path) -> Landmarks:
    """Fill the database of the instance with runs made in the year `until` a moment, then with the landmarks.

    Run ids and the order of runs are the same each time. Files of the pipelines lie in `folder`.
    """
    with closing(psycopg2.connect(url)) as loading, _without_waiting_for_the_disk(loading):
        templates = list(build_templates(instance, jobs=size.jobs, folder=folder))
        with _without_indexes(loading):
            _load_runs(url, loading=loading, templates=templates, size=size, until=until)
        landmarks = _make_landmarks(loading, instance=instance, size=size, folder=folder)
        with _without_indexes(loading):
            _load_events(url, loading=loading, landmarks=landmarks, size=size)
        _settle(loading)
    return landmarks


def _load_runs(url: str, *, loading: Connection, templates: Sequence[RunTemplate], size: Size, until: datetime) -> None:
    with closing(psycopg2.connect(url)) as generating, generating.cursor() as source, loading.cursor() as target:
        _describe_templates(source, templates)
        target.execute("SET session_replication_role = replica")  # no check of each tag that its run exists
        for first in range(1, size.runs + 1, _AT_A_TIME):
            span = {"first": first, "last": min(first + _AT_A_TIME - 1, size.runs)}
            source.execute(_FACTS, {**span, "runs": size.runs, "jobs": size.jobs, "rare": RARE, "until": until})
            _copy(source, select=_RUNS, target=target, table=f"runs ({_RUN_COLUMNS})")
            _copy(source, select=_TAGS, target=target, table="run_tags (run_id, key, value)")
        target.execute("SELECT setval(pg_get_serial_sequence('runs', 'id'), %s)", (size.runs,))
    loading.commit()


def _describe_templates(source: Cursor, templates: Sequence[RunTemplate]) -> None:
    source.execute(
        "CREATE TEMPORARY TABLE template (job int, trigger int, job_name text, snapshot_id text, body text);"
        "CREATE TEMPORARY TABLE template_tag (job int, trigger int, key text, value text);"
        "CREATE TEMPORARY TABLE trigger_percent (percent int, trigger int)"
    )
    rows = [(each.job, each.trigger, each.job_name, each.snapshot_id, each.body) for each in templates]
    execute_values(source, "INSERT INTO template VALUES %s", rows)
    tags = [(each.job, each.trigger, key, value) for each in templates for key, value in each.tags.items()]
    execute_values(source, "INSERT INTO template_tag VALUES %s", tags, page_size=1000)
    triggers = [index for index, (_name, percent, _tags) in enumerate(TRIGGERS) for _ in range(percent)]
    execute_values(source, "INSERT INTO trigger_percent VALUES %s", list(enumerate(triggers)))
    source.execute("ANALYZE template; ANALYZE template_tag; ANALYZE trigger_percent")


def _make_landmarks(loading: Connection, *, instance: DagsterInstance, size: Size, folder: Path) -> Landmarks:
    """Execute the runs that are looked at closely; the one with the long log is a copy of the first as yet."""
    ordinary = build_benchmark_job("twenty", nodes=BRANCH, folder=folder)
    wide = build_benchmark_job("wide", nodes=size.wide_run, folder=folder)
    long = execute(ordinary, instance=instance).run_id
    with loading.cursor() as cursor:
        cursor.execute("UPDATE event_logs SET run_id = 'template' WHERE run_id = %s", (long,))
    loading.commit()
    return Landmarks(
        twenty=execute(ordinary, instance=instance).run_id,
        wide=execute(wide, instance=instance).run_id,
        long=long,
    )


def _load_events(url: str, *, loading: Connection, landmarks: Landmarks, size: Size) -> None:
    with closing(psycopg2.connect(url)) as generating, generating.cursor() as source, loading.cursor() as target:
        values = {"long": landmarks.long, "twenty": landmarks.twenty, "lines": size.long_log // BRANCH}
        of_runs = source.mogrify(_EVENTS_OF_RUNS, {**values, "first": size.runs - size.runs_with_events + 1}).decode()
        _copy(source, select=of_runs, target=target, table=f"event_logs ({_EVENT_COLUMNS})")
        long_log = source.mogrify(_LONG_LOG, values).decode()
        _copy(source, select=long_log, target=target, table=f"event_logs ({_EVENT_COLUMNS})")
        target.execute(_END_LONG_RUN, values)
        target.execute("DELETE FROM event_logs WHERE run_id = 'template'")
    loading.commit()


def _copy(source: Cursor, *, select: str, target: Cursor, table: str) -> None:
    """Stream the rows of a query into a table: one backend makes them, another takes them in."""
    reading, writing = os.pipe()
    with (
        open(reading, "rb", buffering=_BUFFER) as outlet,  # noqa: PTH123  (not a path)
        open(writing, "wb", buffering=_BUFFER) as inlet,  # noqa: PTH123
    ):

        def generate() -> None:
            with inlet:
                source.copy_expert(f"COPY ({select}) TO STDOUT (FORMAT binary)", inlet)

        thread = Thread(target=generate)
        thread.start()
        target.copy_expert(f"COPY {table} FROM STDIN (FORMAT binary)", outlet, size=_BUFFER)
        thread.join()


@contextmanager
def _without_waiting_for_the_disk(loading: Connection) -> Iterator[None]:
    """Let sessions that begin meanwhile commit before the disk has it: thousands of events come one by one."""
    with loading.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_database())")
        ((database,),) = cursor.fetchall()
        cursor.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
        loading.commit()
        yield
        cursor.execute(f"ALTER DATABASE {database} RESET synchronous_commit")


@contextmanager
def _without_indexes(loading: Connection) -> Iterator[None]:
    """Do without the indexes of the tables, but for those of constraints, and make them again as Dagster had them."""
    with loading.cursor() as cursor:
        cursor.execute(_INDEXES, (list(_TABLES),))
        indexes = cursor.fetchall()
        for name, _definition in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        loading.commit()
        yield
        cursor.execute("SET maintenance_work_mem = '512MB'")
        for _name, definition in indexes:
            cursor.execute(definition)
    loading.commit()


def _settle(loading: Connection) -> None:
    """Leave the tables as they are after some days of service: vacuumed, analyzed, and on disk."""
    loading.autocommit = True
    with loading.cursor() as cursor:
        for table in (*_TABLES, "snapshots"):
            cursor.execute(f"VACUUM (ANALYZE) {table}")
        cursor.execute("CHECKPOINT")


_INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename = ANY(%s)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = indexname)"""

# hashint8extended is a hash of Postgres that is the same everywhere; its second argument makes it another one.
_FACTS = """
DROP TABLE IF EXISTS fact;
CREATE TEMPORARY TABLE fact AS
SELECT number, overlay(overlay(md5('run ' || number) placing '4' from 13) placing 'a' from 17)::uuid::text AS run_id,
       job, trigger, status, created,
       CASE WHEN starts THEN extract(epoch FROM created) + waited END AS started,
       CASE WHEN ends THEN extract(epoch FROM created) + waited + lasted END AS ended
FROM (
    SELECT number, job, status, created, waited, lasted, percent, status NOT IN ('STARTED', 'QUEUED') AS ends,
           status <> 'QUEUED' AND NOT (status = 'CANCELED' AND job %% 2 = 0) AS starts
    FROM (
        SELECT number,
               (hashint8extended(number, 1) & 1048575) %% %(jobs)s AS job,
               (hashint8extended(number, 2) & 1048575) %% 100 AS percent,
               CASE WHEN number > %(runs)s - %(rare)s / 2 THEN 'QUEUED'
                    WHEN number > %(runs)s - %(rare)s THEN 'STARTED'
                    WHEN (hashint8extended(number, 3) & 1048575) %% 100 < 5 THEN 'FAILURE'
                    WHEN (hashint8extended(number, 3) & 1048575) %% 100 = 5 THEN 'CANCELED'
                    ELSE 'SUCCESS' END AS status,
               %(until)s::timestamptz AT TIME ZONE 'UTC'
                   - (%(runs)s - number + (hashint8extended(number, 4) & 1023) / 1024.0)
                   * (interval '365 days' / %(runs)s) AS created,
               1 + (hashint8extended(number, 5) & 8191) / 1024.0 AS waited,
               5 + (hashint8extended(number, 6) & 1048575) / 2048.0 AS lasted
        FROM generate_series(%(first)s, %(last)s) AS numbers(number)
    ) AS drawn
) AS told JOIN trigger_percent USING (percent);
ANALYZE fact"""

_RUN_COLUMNS = (
    "id, run_id, snapshot_id, pipeline_name, status, run_body, create_timestamp, update_timestamp, start_time, end_time"
)
_RUNS = """
SELECT number::bigint, run_id::varchar, snapshot_id::varchar, job_name, status::varchar, format(body, run_id, status),
       created, coalesce(to_timestamp(ended) AT TIME ZONE 'UTC', created), started::float8, ended::float8
FROM fact JOIN template USING (job, trigger) ORDER BY number"""
_TAGS = """
SELECT run_id::varchar, key, value FROM fact JOIN template_tag USING (job, trigger) ORDER BY number, key"""

_EVENT_COLUMNS = 'run_id, event, dagster_event_type, "timestamp", step_key, asset_key, partition'
# The events of the run of 20 nodes, as another run would have them.
_EVENTS_OF_RUNS = """
WITH template AS MATERIALIZED (
    SELECT id, parts[1] AS head, parts[2] AS tail, after, dagster_event_type, step_key, asset_key, partition
    FROM (
        SELECT *, regexp_match(event, '^(.*"timestamp": )[0-9.]+(.*)$') AS parts,
               "timestamp" - min("timestamp") OVER () AS after
        FROM event_logs WHERE run_id = %(twenty)s
    ) AS event
)
SELECT run_id, replace(replace(head || (start_time + extract(epoch FROM after))::text || tail, %(twenty)s, run_id),
                       'twenty', pipeline_name),
       dagster_event_type, (to_timestamp(start_time) + after) AT TIME ZONE 'UTC', step_key, asset_key, partition
FROM (
    SELECT template.*, runs.run_id, runs.pipeline_name, runs.start_time
    FROM template CROSS JOIN runs
    WHERE runs.id >= %(first)s AND status = 'SUCCESS' AND pipeline_name LIKE 'pipeline%%'
    ORDER BY runs.id, template.id
) AS told"""
# What each node has logged comes many times over, each with a text of its own, twenty lines in a millisecond.
_LONG_LOG = """
SELECT %(long)s::varchar,
       regexp_replace(
           CASE WHEN batches = 1 THEN event
                ELSE replace(event, '"user_message": "', '"user_message": "Batch ' || batch || ': ') END,
           '"timestamp": [0-9.]+', '"timestamp": ' || extract(epoch FROM happened)::text),
       dagster_event_type, happened, step_key, asset_key, partition
FROM (
    SELECT *, min("timestamp") OVER () + interval '50 microseconds' * row_number() OVER (ORDER BY id, batch) AS happened
    FROM (
        SELECT *, CASE WHEN dagster_event_type IS NULL AND step_key IS NOT NULL THEN %(lines)s ELSE 1 END AS batches
        FROM event_logs WHERE run_id = 'template'
    ) AS template CROSS JOIN LATERAL generate_series(1, batches) AS numbers(batch)
) AS timed
ORDER BY id, batch"""
_END_LONG_RUN = """
UPDATE runs SET end_time = extract(epoch FROM (
    SELECT max("timestamp") FROM event_logs WHERE run_id = %(long)s AND dagster_event_type = 'PIPELINE_SUCCESS'))
WHERE run_id = %(long)s"""
