"""The storage room against the installed Dagster: what `DagsterInstance` says of a run, we say too."""

from datetime import UTC, datetime

import psycopg2
import psycopg2.extensions
import pytest
from dagster import DagsterInstance, DagsterRunStatus, JobDefinition

from api_adapter.errors import UnavailableError, UnknownSchemaError
from api_adapter.storage import STATUSES, RunFilter, RunStatus, Storage, open_storage
from api_adapter.storage.database import Connection
from api_adapter.storage.indexes import INDEXES
from api_adapter.storage.nodes import NodeRecord
from planasonix_orchestrator.contract import metadata
from tests.api import served
from tests.api.making import execute, make_run
from tests.api.waiting import wait_until
from tests.conftest import superuser


def nodes_of(storage: Storage, run_id: str) -> dict[str, NodeRecord]:
    found = storage.read_nodes(run_id)
    assert found is not None
    return {node.node_id: node for node in found[1]}


def test_every_status_of_dagster_has_a_status_here() -> None:
    """Each Dagster status maps to exactly one of the five of the status reference."""
    mapped = sorted(name for several in STATUSES.values() for name in several)
    assert mapped == sorted(status.value for status in DagsterRunStatus)


@pytest.mark.parametrize(
    ("job", "status"),
    [(served.crm_to_warehouse, "succeeded"), (served.failing, "failed"), (served.nightly, "succeeded")],
)
def test_a_run_reads_as_dagster_tells_it(
    job: JobDefinition, status: RunStatus, instance: DagsterInstance, storage: Storage
) -> None:
    """Status, times, job, tags and snapshot are those of Dagster's own record."""
    run_id = execute(job, instance=instance, tags={"team": "sales"})
    theirs = instance.get_run_record_by_id(run_id)
    ours = storage.read_run(run_id)
    assert theirs is not None
    assert ours is not None
    assert ours.status == status
    assert ours.dagster_status == theirs.dagster_run.status.value
    assert ours.job_name == theirs.dagster_run.job_name
    assert ours.snapshot_id == theirs.dagster_run.job_snapshot_id
    assert ours.position == theirs.storage_id
    assert ours.queued_at == theirs.create_timestamp
    assert ours.started_at == datetime.fromtimestamp(theirs.start_time or 0, UTC)
    assert ours.finished_at == datetime.fromtimestamp(theirs.end_time or 0, UTC)
    assert ours.tags.items() >= theirs.dagster_run.tags.items()


def test_nodes_agree_with_dagsters_step_stats(instance: DagsterInstance, storage: Storage) -> None:
    """Start, end and outcome of each node are those of Dagster's step statistics."""
    for job in (served.crm_to_warehouse, served.failing):
        run_id = execute(job, instance=instance)
        nodes = {node.node_id: node for node in nodes_of(storage, run_id).values()}
        for stats in instance.get_run_step_stats(run_id):
            node = nodes[stats.step_key.replace("_x2d_", "-")]
            if stats.status is None:  # never started; Dagster has no word for it
                assert node.status == "skipped"
                continue
            assert node.status == {"SUCCESS": "succeeded", "FAILURE": "failed"}[stats.status.value]
            assert node.started_at == datetime.fromtimestamp(stats.start_time or 0, UTC)
            assert node.finished_at == datetime.fromtimestamp(stats.end_time or 0, UTC)


def test_nodes_come_in_topological_order_with_their_types(instance: DagsterInstance, storage: Storage) -> None:
    """Node ids are the user's, also those that Dagster refuses, and types those of the op tags."""
    nodes = nodes_of(storage, execute(served.crm_to_warehouse, instance=instance))
    assert [(node.node_id, node.type) for node in nodes.values()] == [
        ("n_source", "source.postgres"),
        ("keep-recent", "transform.filter"),
        ("n_flaky", "destination.postgres"),
    ]


def test_a_retried_node_counts_its_retries(instance: DagsterInstance, storage: Storage) -> None:
    """A node that succeeds at its second attempt has succeeded, with one retry and no error."""
    nodes = nodes_of(storage, execute(served.crm_to_warehouse, instance=instance))
    assert (nodes["n_flaky"].status, nodes["n_flaky"].retries, nodes["n_flaky"].error) == ("succeeded", 1, None)
    assert nodes["n_source"].retries == 0
    assert nodes["keep-recent"].metrics == {
        metadata.ROWS_IN: 7,
        metadata.ROWS_OUT: 5,
        metadata.BYTES_SHUFFLED: 11,
    }


def test_a_failed_run_tells_which_node_and_why(instance: DagsterInstance, storage: Storage) -> None:
    """The failing node carries the user's own error; what came after it is skipped."""
    nodes = nodes_of(storage, execute(served.failing, instance=instance))
    assert [node.status for node in nodes.values()] == ["succeeded", "failed", "skipped"]
    error = nodes["n_bad"].error
    assert error is not None
    assert (error.class_name, error.message) == ("ValueError", "column 'amount' does not exist")
    assert (error.code, error.node_id) == ("node_error", None)


def test_the_state_of_a_run_grows_with_its_events(instance: DagsterInstance, storage: Storage) -> None:
    """The newest event is the one that Dagster has stored last, and another one changes the state."""
    run_id = execute(served.nightly, instance=instance)
    before = storage.read_state(run_id)
    assert before is not None
    records = instance.get_records_for_run(run_id).records
    assert before.last_event == max(record.storage_id for record in records)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_engine_event("One more thing", run)
    after = storage.read_state(run_id)
    assert after is not None
    assert after.last_event > before.last_event
    assert storage.read_state("unknown") is None


def test_a_run_config_is_the_one_it_was_started_with(instance: DagsterInstance, storage: Storage) -> None:
    """The config is Dagster's own record of it."""
    config = {"resources": {"variables": {"config": {"day": "2025-03-01"}}}}
    run_id = served.crm_to_warehouse.execute_in_process(instance=instance, run_config=config).run_id
    story = storage.read_story(run_id)
    theirs = instance.get_run_by_id(run_id)
    assert story is not None
    assert theirs is not None
    assert story.config == theirs.run_config == config


def test_dagsters_tables_are_of_a_known_revision(instance: DagsterInstance, storage: Storage) -> None:
    """The installed Dagster makes tables of a revision that we know: an upgrade must pass this suite first."""
    storage.check()


def test_an_unknown_revision_is_refused_with_clear_words(postgres_url: str) -> None:
    """Tables of another revision are not read, and the message says both revisions."""
    with superuser(postgres_url) as cursor:
        cursor.execute("CREATE TABLE alembic_version (version_num text); CREATE TABLE runs (id bigint)")
        with open_storage(postgres_url) as storage:
            with pytest.raises(UnavailableError, match="tables"):
                storage.list_runs(RunFilter(), limit=1)
            cursor.execute("INSERT INTO alembic_version VALUES ('abc123')")
            for read in (storage.check, lambda: storage.list_runs(RunFilter(), limit=1)):
                with pytest.raises(UnknownSchemaError, match="abc123"):
                    read()


def test_our_indexes_are_made_and_made_again(instance: DagsterInstance, database_url: str) -> None:
    """The upkeep makes every index, and once more those that were broken off; it may run twice at once."""
    names = {index.name for index in INDEXES}
    with superuser(database_url) as cursor:
        cursor.execute(f"DROP INDEX IF EXISTS {', '.join(names)}")

        def valid() -> bool:
            cursor.execute(
                "SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
                " WHERE indisvalid AND relname = ANY(%s)",
                (list(names),),
            )
            return cursor.fetchone() == (len(names),)

        with open_storage(database_url), open_storage(database_url):
            wait_until(valid, seconds=30)
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'planasonix_runs_status'::regclass")
        assert not valid()
        with open_storage(database_url):
            wait_until(valid, seconds=30)


def test_a_foreign_job_is_told_by_its_op_names(instance: DagsterInstance, storage: Storage) -> None:
    """A job not compiled by us has a pipeline id from its name, node types from its ops, nested graphs unfolded."""
    run_id = execute(served.nightly, instance=instance)
    run = storage.read_run(run_id)
    assert run is not None
    assert (run.pipeline_id, run.pipeline_name, run.trigger) == ("pl_nightly", "nightly", "manual")
    nodes = nodes_of(storage, run_id)
    assert [(node.node_id, node.type, node.status) for node in nodes.values()] == [
        ("extract", "extract", "succeeded"),
        ("tidy.clean_first", "clean", "succeeded"),
        ("tidy.clean", "clean", "succeeded"),
        ("publish", "publish", "succeeded"),
    ]
    listed = storage.list_runs(RunFilter(pipeline_id="pl_nightly"), limit=1)
    assert [run.dagster_id for run in listed] == [run_id]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (DagsterRunStatus.NOT_STARTED, ["queued", "pending"]),
        (DagsterRunStatus.STARTING, ["queued", "pending"]),
        (DagsterRunStatus.STARTED, ["queued", "pending"]),
        (DagsterRunStatus.CANCELED, ["canceled", "canceled"]),
        (DagsterRunStatus.FAILURE, ["skipped", "skipped"]),
    ],
)
def test_nodes_that_never_started_are_listed_too(
    status: DagsterRunStatus, expected: list[str], instance: DagsterInstance, storage: Storage
) -> None:
    """A node without events is queued once its inputs are there, pending before, and ended with its run."""
    run = make_run(instance, status=status)
    assert [node.status for node in nodes_of(storage, run.run_id).values()] == expected


@pytest.mark.parametrize(
    ("tags", "trigger"),
    [
        ({}, "manual"),
        ({"planasonix/trigger": "api"}, "api"),
        ({"dagster/schedule_name": "nightly"}, "schedule"),
        ({"dagster/sensor_name": "files"}, "sensor"),
        ({"dagster/backfill": "abc", "dagster/schedule_name": "x"}, "backfill"),
    ],
)
def test_the_trigger_is_known_for_runs_that_dagster_started(
    tags: dict[str, str], trigger: str, instance: DagsterInstance, storage: Storage
) -> None:
    """Our tag tells the trigger; without it Dagster's own tags do; without any it was a person."""
    run = storage.read_run(make_run(instance, status=DagsterRunStatus.NOT_STARTED, tags=tags).run_id)
    assert run is not None
    assert run.trigger == trigger


def test_the_daemon_is_alive_when_it_says_so(instance: DagsterInstance, storage: Storage) -> None:
    """The heartbeat read is the one that Dagster's daemon wrote."""
    from dagster._daemon.types import DaemonHeartbeat

    now = datetime.now(UTC).replace(microsecond=0)
    instance.add_daemon_heartbeat(
        DaemonHeartbeat(timestamp=now.timestamp(), daemon_type="SCHEDULER", daemon_id="1", errors=[])
    )
    assert storage.last_heartbeat() == now


def test_a_database_that_crashes_amid_a_statement_is_away(instance: DagsterInstance, storage: Storage) -> None:
    """The driver's plain DatabaseError, with which it tells of a crash now and then, is no bug; the next read works."""

    def cut(connection: Connection) -> None:
        raise psycopg2.DatabaseError("server closed the connection unexpectedly")

    with pytest.raises(UnavailableError):
        storage._database.read_single(cut)
    assert storage.read_run("unknown") is None


def test_what_a_session_has_prepared_may_get_lost(instance: DagsterInstance, storage: Storage) -> None:
    """A statement is prepared once in each session, and again where somebody in between has had it forget."""

    def count(connection: Connection) -> int:
        ((number,),) = connection.rows("SELECT count(*) FROM pg_prepared_statements")
        return int(number)

    storage.read_run("unknown")
    before = storage._database.read_single(count)
    assert before > 0
    storage.read_run("another")
    assert storage._database.read_single(count) == before
    storage._database.read_single(lambda connection: connection.do("DEALLOCATE ALL"))
    assert storage.read_run("unknown") is None
    assert storage._database.read_single(count) == 1
