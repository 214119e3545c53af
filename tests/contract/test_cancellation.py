"""Cancel intents, in a real Postgres with Dagster's tables."""

import json
import select
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg2
import pytest
from dagster import DagsterInstance, DagsterRunStatus, job
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.dagster_run import DagsterRun
from sqlalchemy import Engine, create_engine, text

from planasonix_orchestrator.contract import cancellation, tags
from planasonix_orchestrator.contract.cancellation import CHANNEL, has_intent, read_open_intents, store_intent
from tests.api.conftest import dagster_home
from tests.api.waiting import wait_until
from tests.conftest import database

# Which a queued run must have.
SERVER = GrpcServerCodeLocationOrigin("127.0.0.1", port=1, location_name="planasonix")
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(SERVER, "planasonix"), "nothing")
NOON = datetime(2025, 3, 27, 12, tzinfo=UTC)


@job
def nothing() -> None:
    """A job to have runs of."""


@pytest.fixture(scope="module")
def database_url(postgres_server: str, dagster_tables: str) -> Iterator[str]:
    with database(postgres_server, like=dagster_tables) as url:
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[DagsterInstance]:
    with dagster_home(tmp_path_factory.mktemp("dagster"), url=database_url) as instance:
        yield instance


@pytest.fixture
def instance(home: DagsterInstance, engine: Engine) -> Iterator[DagsterInstance]:
    yield home
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM runs"))


@pytest.fixture
def engine(home: DagsterInstance, database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def make(instance: DagsterInstance, status: DagsterRunStatus, *, run_tags: dict[str, str] | None = None) -> DagsterRun:
    return instance.create_run_for_job(
        nothing, run_id=str(uuid4()), status=status, tags=run_tags, remote_job_origin=ORIGIN
    )


def store(engine: Engine, run_id: str, *, by: str = "ann", at: datetime = NOON) -> str | None:
    with engine.begin() as connection:
        return store_intent(connection, run_id, by=by, at=at)


def tags_in_both_places(instance: DagsterInstance, engine: Engine, run_id: str) -> dict[str, str]:
    """The tags of a run, which are the same in its body and in the table of tags."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT key, value FROM run_tags WHERE run_id = :id"), {"id": run_id}).all()
    assert len({key for key, _ in rows}) == len(rows)
    assert set(run.tags_for_storage().items()) == set(map(tuple, rows))
    return dict(run.tags)


@pytest.mark.parametrize("status", cancellation.UNFINISHED)
def test_an_intent_stands_on_the_run_and_is_open(status: str, instance: DagsterInstance, engine: Engine) -> None:
    """Who asked, when and on whose behalf, in the body and in the tags, beside what stood there before."""
    run = make(instance, DagsterRunStatus(status), run_tags={"team": "sales"})
    assert store(engine, run.run_id) == status
    told = tags_in_both_places(instance, engine, run.run_id)
    assert told["team"] == "sales"
    assert told[tags.CANCEL_REQUESTED_AT] == "2025-03-27T12:00:00.000Z"
    assert (told[tags.CANCEL_REQUESTED_BY], told[tags.CANCELED_BY]) == ("ann", "user")
    with engine.connect() as connection:
        (intent,) = read_open_intents(connection)
        assert (intent.run_id, intent.status, intent.requested_at) == (run.run_id, status, NOON)
        assert has_intent(connection, run.run_id)


def test_the_first_intent_stands(instance: DagsterInstance, engine: Engine) -> None:
    """A second one has no effect, and the answer is the same."""
    run = make(instance, DagsterRunStatus.STARTED)
    assert store(engine, run.run_id) == "STARTED"
    assert store(engine, run.run_id, by="bob", at=NOON + timedelta(seconds=9)) == "STARTED"
    told = tags_in_both_places(instance, engine, run.run_id)
    assert (told[tags.CANCEL_REQUESTED_BY], told[tags.CANCEL_REQUESTED_AT][:19]) == ("ann", "2025-03-27T12:00:00")


@pytest.mark.parametrize("status", sorted(cancellation.FINISHED))
def test_a_run_that_has_ended_takes_none(status: str, instance: DagsterInstance, engine: Engine) -> None:
    """Its final status is the answer; nothing is written."""
    run = make(instance, DagsterRunStatus(status))
    assert store(engine, run.run_id) == status
    assert tags.CANCEL_OF not in tags_in_both_places(instance, engine, run.run_id)
    with engine.connect() as connection:
        assert not has_intent(connection, run.run_id)


def test_an_unknown_run_has_no_status(engine: Engine) -> None:
    """None, and nothing stands anywhere."""
    assert store(engine, str(uuid4())) is None


def test_an_intent_ends_with_its_run(instance: DagsterInstance, engine: Engine) -> None:
    """It is no longer open, but still known."""
    run = make(instance, DagsterRunStatus.STARTED)
    store(engine, run.run_id)
    instance.report_run_canceled(run)
    with engine.connect() as connection:
        assert read_open_intents(connection) == []
        assert has_intent(connection, run.run_id)


def test_an_intent_that_a_re_execution_took_over_does_not_count(instance: DagsterInstance, engine: Engine) -> None:
    """Dagster copies a parent's tags; the copy is none, and gives way to an intent of the run's own."""
    parent = make(instance, DagsterRunStatus.STARTED)
    store(engine, parent.run_id)
    instance.report_run_canceled(parent)
    copied = tags_in_both_places(instance, engine, parent.run_id)
    run = make(instance, DagsterRunStatus.STARTED, run_tags=copied)
    with engine.connect() as connection:
        assert read_open_intents(connection) == []
        assert not has_intent(connection, run.run_id)
    store(engine, run.run_id, by="bob")
    told = tags_in_both_places(instance, engine, run.run_id)
    assert (told[tags.CANCEL_OF], told[tags.CANCEL_REQUESTED_BY]) == (run.run_id, "bob")
    with engine.connect() as connection:
        assert [intent.run_id for intent in read_open_intents(connection)] == [run.run_id]


def test_an_intent_outlives_a_body_that_dagster_writes_back(instance: DagsterInstance, engine: Engine) -> None:
    """Dagster writes a run's body as it had read it; the intent that was stored meanwhile still counts."""
    run = make(instance, DagsterRunStatus.STARTING)
    store(engine, run.run_id)
    with engine.begin() as connection:
        body = json.loads(connection.execute(text("SELECT run_body FROM runs")).scalar_one())
        body["tags"] = {}
        connection.execute(text("UPDATE runs SET run_body = :body, status = 'STARTED'"), {"body": json.dumps(body)})
        assert [intent.status for intent in read_open_intents(connection)] == ["STARTED"]
        assert has_intent(connection, run.run_id)


def test_open_intents_come_oldest_first(instance: DagsterInstance, engine: Engine) -> None:
    """By the moment of the request, not by that of the run."""
    runs = [make(instance, DagsterRunStatus.QUEUED) for _ in range(3)]
    for late, run in zip((2, 0, 1), runs, strict=True):
        store(engine, run.run_id, at=NOON + timedelta(seconds=late))
    with engine.connect() as connection:
        found = [intent.run_id for intent in read_open_intents(connection)]
    assert found == [runs[1].run_id, runs[2].run_id, runs[0].run_id]


def test_an_intent_is_announced_when_it_is_committed(
    instance: DagsterInstance, engine: Engine, database_url: str
) -> None:
    """Who listens hears the run's id once, and nothing of an intent that was rolled back or came second."""
    rolled_back, run = (make(instance, DagsterRunStatus.QUEUED) for _ in range(2))
    listener = psycopg2.connect(database_url)
    try:
        listener.autocommit = True
        with listener.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        with engine.connect() as connection:
            store_intent(connection, rolled_back.run_id, by="ann", at=NOON)
            connection.rollback()
        store(engine, run.run_id)
        store(engine, run.run_id)
        with engine.begin() as connection:
            connection.execute(text(f"NOTIFY {CHANNEL}, 'last'"))
        heard: list[str] = []
        while "last" not in heard:
            assert select.select([listener], [], [], 10)[0]
            listener.poll()
            heard += [notice.payload for notice in listener.notifies]
            listener.notifies.clear()
        assert heard == [run.run_id, "last"]
    finally:
        listener.close()


def end(engine: Engine, run_id: str) -> str:
    """End a run as its worker does: as succeeded if nobody has asked otherwise, under the row lock."""
    with engine.begin() as connection:
        connection.execute(text("SELECT FROM runs WHERE run_id = :id FOR UPDATE"), {"id": run_id})
        if has_intent(connection, run_id):
            return "CANCELED"
        connection.execute(text("UPDATE runs SET status = 'SUCCESS' WHERE run_id = :id"), {"id": run_id})
        return "SUCCESS"


def waits_for_a_lock(engine: Engine) -> bool:
    statement = text(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
    )
    with engine.connect() as connection:
        return bool(connection.execute(statement).scalar_one())


def test_an_end_that_comes_first_is_what_the_intent_finds(instance: DagsterInstance, engine: Engine) -> None:
    """An intent that arrives while the run's end is being written waits for it, and then is none."""
    run = make(instance, DagsterRunStatus.STARTED)
    with ThreadPoolExecutor() as pool:
        with engine.begin() as connection:
            connection.execute(text("SELECT FROM runs WHERE run_id = :id FOR UPDATE"), {"id": run.run_id})
            connection.execute(text("UPDATE runs SET status = 'SUCCESS' WHERE run_id = :id"), {"id": run.run_id})
            intent: Future[str | None] = pool.submit(store, engine, run.run_id)
            wait_until(lambda: waits_for_a_lock(engine), seconds=10)
            assert not intent.done()
        assert intent.result(10) == "SUCCESS"
    assert tags.CANCEL_OF not in tags_in_both_places(instance, engine, run.run_id)


def test_an_intent_that_comes_first_is_what_the_end_finds(instance: DagsterInstance, engine: Engine) -> None:
    """An end that arrives while the intent is being stored waits for it, and is no success."""
    run = make(instance, DagsterRunStatus.STARTED)
    with ThreadPoolExecutor() as pool:
        with engine.begin() as connection:
            assert store_intent(connection, run.run_id, by="ann", at=NOON) == "STARTED"
            ended = pool.submit(end, engine, run.run_id)
            wait_until(lambda: waits_for_a_lock(engine), seconds=10)
            assert not ended.done()
        assert ended.result(10) == "CANCELED"


def test_intents_and_ends_that_race_agree(instance: DagsterInstance, engine: Engine) -> None:
    """Of a run that several want to cancel while it ends, all see the one outcome, and one intent stands at most."""
    for _ in range(20):
        run = make(instance, DagsterRunStatus.STARTED)
        with ThreadPoolExecutor() as pool:
            intents = [pool.submit(store, engine, run.run_id, by=f"user {number}") for number in range(3)]
            ended = pool.submit(end, engine, run.run_id)
            seen = [intent.result(10) for intent in intents]
        told = tags_in_both_places(instance, engine, run.run_id)
        if ended.result(10) == "SUCCESS":
            assert tags.CANCEL_OF not in told
            assert set(seen) == {"SUCCESS"}
        else:
            assert told[tags.CANCEL_OF] == run.run_id
            assert set(seen) == {"STARTED"}
