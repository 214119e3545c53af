"""Lists of runs against a simple model: whatever the filter, whatever happens meanwhile, each run exactly once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from threading import Event, Thread
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import httpx
import psycopg2
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_adapter.settings import ApiSettings
from api_adapter.storage import STATUSES, RunFilter, RunStatus, Storage
from api_adapter.storage.database import Connection, open_database
from api_adapter.storage.outline import _ALL_TRIGGERS, Outline
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.conftest import MANY, dagster_home, serving
from tests.api.making import make_run
from tests.conftest import superuser

Cursor = psycopg2.extensions.cursor
BEGIN = datetime(2025, 3, 1, tzinfo=UTC)
JOBS = ("crm", "sales", "old_sales")  # the last one is an old name of pl_sales
PIPELINES = ("pl_crm", "pl_sales", "pl_other")
TAGGED = {"api": ("planasonix/trigger", "api"), "schedule": ("dagster/schedule_name", "nightly"), "manual": None}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as the model knows it."""

    id: int = 0
    job: str
    tag: str | None  # the pipeline that its tag names
    status: RunStatus
    trigger: str
    created: datetime
    started: datetime | None

    @property
    def pipeline(self) -> str:
        return self.tag or f"pl_{self.job}"

    def passes(self, wanted: RunFilter) -> bool:
        happened = self.started or self.created
        return (
            (wanted.pipelines is None or self.pipeline in wanted.pipelines)
            and (not wanted.statuses or self.status in wanted.statuses)
            and (not wanted.triggers or self.trigger in wanted.triggers)
            and (wanted.since is None or happened >= wanted.since)
            and (wanted.until is None or happened < wanted.until)
        )


@st.composite
def any_run(draw: st.DrawFn) -> Run:
    """A run that was created up to two days after the begin, not in order, and waited up to 30 hours."""
    created = BEGIN + timedelta(minutes=draw(st.integers(0, 2880)))
    status = draw(st.sampled_from(list(STATUSES)))
    waited = draw(st.one_of(st.integers(0, 100), st.integers(3500, 3700), st.integers(0, 108_000)))
    return Run(
        job=draw(st.sampled_from(JOBS)),
        tag=draw(st.sampled_from([None, *PIPELINES])),
        status=status,
        trigger=draw(st.sampled_from(list(TAGGED))),
        created=created,
        started=None if status == "queued" else created + timedelta(seconds=waited),
    )


MOMENTS = st.none() | st.integers(-60, 4000).map(lambda minutes: BEGIN + timedelta(minutes=minutes))
FILTERS = st.builds(
    RunFilter,
    pipeline_id=st.none() | st.sampled_from([*PIPELINES, "pl_unknown"]),
    statuses=st.lists(st.sampled_from(list(STATUSES)), max_size=2, unique=True).map(tuple),
    triggers=st.lists(st.sampled_from([*TAGGED, "retry"]), max_size=2, unique=True).map(tuple),
    since=MOMENTS,
    until=MOMENTS,
    visible=st.none() | st.frozensets(st.sampled_from(PIPELINES), max_size=2),
)


@pytest.fixture(scope="module")
def url(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with Dagster's tables, made in another time zone than UTC, and no runs."""
    name = f"pages_{uuid4().hex}"
    with superuser(postgres_server) as server:
        server.execute(f"CREATE DATABASE {name}")
        server.execute(f"ALTER DATABASE {name} SET timezone TO 'America/New_York'")
    url = postgres_server.replace("/postgres?", f"/{name}?")
    with dagster_home(tmp_path_factory.mktemp("pages"), url=url):
        yield url


@pytest.fixture(scope="module")
def cursor(url: str) -> Iterator[Cursor]:
    with superuser(url) as cursor:
        yield cursor


@contextmanager
def empty_storage(url: str, cursor: Cursor) -> Iterator[tuple[Storage, Outline]]:
    """Storage without any run and without upkeep, and its outline, which knows nothing yet."""
    cursor.execute("TRUNCATE runs CASCADE")
    outline, database = Outline(), open_database(url)
    try:
        yield Storage(database, outline=outline), outline
    finally:
        database.close()


class _BrokenOffError(Exception):
    pass


def look_half_way(outline: Outline, connection: Connection) -> None:
    """Look at all runs, but not at their triggers, which takes the longest."""
    rows = connection.rows

    def break_off(statement: str, parameters: Mapping[str, object] | None = None) -> Sequence[Any]:
        if statement == _ALL_TRIGGERS:
            raise _BrokenOffError
        return rows(statement, parameters)

    with patch.object(connection, "rows", break_off), suppress(_BrokenOffError):
        outline.look(connection)


Look = Callable[[Outline, Connection], None]
LOOKS = st.sampled_from([lambda *_: None, look_half_way, Outline.look])


def insert(cursor: Cursor, run: Run) -> Run:
    """Write a run as Dagster does; return it with its id."""
    run_id = str(uuid4())
    cursor.execute(
        "INSERT INTO runs (run_id, pipeline_name, status, run_body, create_timestamp, start_time)"
        " VALUES (%s, %s, %s, '{}', %s, %s) RETURNING id",
        (run_id, run.job, STATUSES[run.status][0], run.created, run.started and run.started.timestamp()),
    )
    ((position,),) = cursor.fetchall()
    tags = [TAGGED[run.trigger], ("planasonix/pipeline_id", run.tag) if run.tag else None]
    for tag in filter(None, tags):
        cursor.execute("INSERT INTO run_tags (run_id, key, value) VALUES (%s, %s, %s)", (run_id, *tag))
    return replace(run, id=position)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(any_run(), max_size=40),
    later=st.lists(any_run(), max_size=5),
    filters=st.lists(FILTERS, min_size=1, max_size=6),
    limit=st.integers(1, 9),
    look=LOOKS,
)
def test_pages_are_what_a_simple_model_says(
    runs: list[Run], later: list[Run], filters: list[RunFilter], limit: int, look: Look, url: str, cursor: Cursor
) -> None:
    """Walking any filter's pages shows exactly the runs that pass it, newest first, whatever was looked at before."""
    with empty_storage(url, cursor) as (storage, outline):
        model = [insert(cursor, run) for run in runs]
        storage._database.read_single(partial(look, outline))
        model += [insert(cursor, run) for run in later]
        for wanted in filters:
            expected = sorted((run.id for run in model if run.passes(wanted)), reverse=True)
            assert walk(storage, wanted, limit=limit) == expected


@pytest.mark.parametrize("newer", [0, 150], ids="{} newer runs".format)
@pytest.mark.parametrize("looked", ["before", "between"])
def test_a_run_is_what_its_tags_say_that_come_a_moment_later(looked: str, newer: int, url: str, cursor: Cursor) -> None:
    """Dagster writes the run first: a look in between must not take it for good for one that nobody has started."""
    by_sensor = RunFilter(triggers=("sensor",), visible=None)
    other = Run(job="other", tag="pl_other", status="queued", trigger="api", created=BEGIN, started=None)
    with empty_storage(url, cursor) as (storage, outline):
        if looked == "before":
            storage._database.read_single(outline.look)
        run_id = str(uuid4())
        cursor.execute(
            "INSERT INTO runs (run_id, pipeline_name, status, run_body, create_timestamp)"
            " VALUES (%s, 'a_job', 'QUEUED', '{}', now() AT TIME ZONE 'UTC') RETURNING id",
            (run_id,),
        )
        ((position,),) = cursor.fetchall()
        if looked == "between":
            storage._database.read_single(outline.look)
        assert walk(storage, by_sensor, limit=5) == []
        for _ in range(newer):
            insert(cursor, other)
        assert len(walk(storage, RunFilter(triggers=("api",)), limit=500)) == newer
        for for_now in (RunFilter(pipeline_id="pl_a_job"), RunFilter(triggers=("manual",))):
            assert walk(storage, for_now, limit=5) == [position]
        for key, value in (("planasonix/trigger", "sensor"), ("planasonix/pipeline_id", "pl_late")):
            cursor.execute("INSERT INTO run_tags (run_id, key, value) VALUES (%s, %s, %s)", (run_id, key, value))
        assert walk(storage, by_sensor, limit=5) == [position]
        assert walk(storage, RunFilter(pipeline_id="pl_late", visible=None), limit=5) == [position]
        for for_now in (RunFilter(pipeline_id="pl_a_job"), RunFilter(triggers=("manual",))):
            assert walk(storage, for_now, limit=5) == []


def walk(storage: Storage, wanted: RunFilter, *, limit: int) -> list[int]:
    """The positions on all pages of a list."""
    seen: list[int] = []
    while page := storage.list_runs(wanted, limit=limit, below=seen[-1] if seen else None):
        assert len(page) <= limit
        seen += [run.position for run in page]
    return seen


CHANGES = st.lists(
    st.tuples(st.sampled_from(["insert", "finish", "delete"]), any_run(), st.integers(0, 100)), max_size=4
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(any_run(), min_size=1, max_size=30),
    wanted=FILTERS,
    limit=st.integers(1, 5),
    changes=st.lists(CHANGES, max_size=8),
    look=LOOKS,
)
def test_a_walk_shows_each_run_once_whatever_happens_meanwhile(
    runs: list[Run],
    wanted: RunFilter,
    limit: int,
    changes: list[list[tuple[str, Run, int]]],
    look: Look,
    url: str,
    cursor: Cursor,
) -> None:
    """While runs are created, change and are deleted between pages, each run that stays as it is appears once."""
    with empty_storage(url, cursor) as (storage, outline):
        model = {run.id: run for run in (insert(cursor, run) for run in runs)}
        untouched = set(model)
        storage._database.read_single(partial(look, outline))
        seen: list[int] = []
        for between in count():
            page = storage.list_runs(wanted, limit=limit, below=seen[-1] if seen else None)
            if not page:
                break
            seen += [run.position for run in page]
            for kind, run, number in changes[between] if between < len(changes) else ():
                if kind == "insert":
                    insert(cursor, run)
                    continue
                chosen = sorted(model)[number % len(model)]
                untouched.discard(chosen)
                if kind == "delete":
                    cursor.execute("DELETE FROM runs WHERE id = %s", (chosen,))
                else:
                    cursor.execute("UPDATE runs SET status = 'SUCCESS', start_time = 0 WHERE id = %s", (chosen,))
    assert seen == sorted(set(seen), reverse=True)
    assert {run for run in untouched if model[run].passes(wanted)} == set(seen) & untouched


def test_a_run_that_becomes_visible_late_is_not_lost(url: str, cursor: Cursor) -> None:
    """A run that commits after a newer one was seen is listed by its pipeline, trigger and date all the same."""
    run = Run(job="late", tag="pl_late", status="queued", trigger="api", created=BEGIN, started=None)
    filters = [
        RunFilter(pipeline_id="pl_late"),
        RunFilter(triggers=("api",)),
        RunFilter(since=BEGIN, until=BEGIN + timedelta(seconds=1)),
    ]
    with empty_storage(url, cursor) as (storage, outline):
        storage._database.read_single(outline.look)
        open_transaction = psycopg2.connect(url)
        try:
            with open_transaction.cursor() as late:
                first = insert(late, run)
                second = insert(cursor, run)
                for wanted in filters:
                    assert walk(storage, wanted, limit=5) == [second.id]
                open_transaction.commit()
                for wanted in filters:
                    assert walk(storage, wanted, limit=5) == [second.id, first.id]
        finally:
            open_transaction.close()


def test_pages_over_http_while_runs_come_and_go(
    reader: httpx.Client, instance: DagsterInstance, database_url: str
) -> None:
    """A client that walks the pages during real traffic sees each old run once, and none twice."""
    tags = {"planasonix/pipeline_id": f"pl_{uuid4().hex}"}
    old = [make_run(instance, status=DagsterRunStatus.STARTED, tags=tags) for _ in range(12)]
    stop = Event()

    def traffic() -> None:
        while not stop.is_set():
            run = make_run(instance, status=DagsterRunStatus.STARTED, tags=tags)
            instance.report_run_canceled(run)
            instance.delete_run(run.run_id)

    thread = Thread(target=traffic)
    thread.start()
    try:
        for _ in range(5):
            seen: list[str] = []
            cursor: str | None = None
            while True:
                query = {"limit": "3", **({"cursor": cursor} if cursor else {})}
                page = reader.get(f"/api/pipelines/{tags['planasonix/pipeline_id']}/runs", params=query).json()
                seen += [run["id"] for run in page["data"]]
                cursor = page["meta"]["cursor"]
                if cursor is None:
                    break
            ids = [encode_run_id(run.run_id) for run in reversed(old)]
            assert [run for run in seen if run in ids] == ids
            assert len(set(seen)) == len(seen)
    finally:
        stop.set()
        thread.join()


def test_the_outline_of_a_large_table_is_not_waited_for(reader_settings: ApiSettings) -> None:
    """A service that has only just been started lists by pipeline, trigger and date at once."""
    with serving(replace(reader_settings, rate_limit=MANY)) as client:
        for query in ("pipelineId=pl_crm", "trigger=api", "dateRange=2025-01-01.."):
            assert client.get(f"/api/runs?{query}").status_code == 200
