"""The seeded record: what Dagster would have written, read by Dagster and by the API's storage."""

from contextlib import closing
from datetime import timedelta

import psycopg2
from dagster import DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata

from api_adapter.storage import RunFilter, open_storage
from api_adapter.storage.runs import STATUS_OF
from benchmarks.record.seeding import RARE
from benchmarks.record.server import Record
from tests.benchmarks.conftest import SIZE, UNTIL

LANDMARKS = 3


def bulk_runs(instance: DagsterInstance) -> list[RunRecord]:
    """The runs that were not executed, oldest first."""
    records = instance.get_run_records(ascending=True)
    assert len(records) == SIZE.runs + LANDMARKS
    return list(records)[: SIZE.runs]


def test_dagster_reads_every_run(instance: DagsterInstance) -> None:
    """Each row's body is a run of Dagster's that agrees with its columns, its tags and its snapshots."""
    runs = bulk_runs(instance)
    for record in (*runs[::20], *runs[-RARE:]):
        run = record.dagster_run
        with_tags = instance.get_run_records(RunsFilter(run_ids=[run.run_id], tags=dict(run.tags)))
        assert [each.storage_id for each in with_tags] == [record.storage_id]
        assert run.tags["planasonix/pipeline_id"] == f"pl_{run.job_name.removeprefix('pipeline_')}"
        assert run.remote_job_origin is not None
        assert run.remote_job_origin.job_name == run.job_name
    snapshots = {record.dagster_run.job_snapshot_id for record in runs}
    assert len(snapshots) == SIZE.jobs
    assert all(len(instance.get_job_snapshot(each or "").node_names) == 20 for each in snapshots)


def test_runs_are_spread_over_a_year_in_the_order_of_their_ids(instance: DagsterInstance) -> None:
    """Creation times grow with ids, through the whole year before the moment that was given."""
    created = [record.create_timestamp for record in bulk_runs(instance)]
    assert created == sorted(created)
    assert UNTIL - timedelta(days=366) < created[0] < UNTIL - timedelta(days=363)
    assert UNTIL - timedelta(days=3) < created[-1] < UNTIL


def test_runs_start_after_their_creation_and_end_after_their_start(instance: DagsterInstance) -> None:
    """Only runs that go on have no end, and only those that never began have no start."""
    for record in bulk_runs(instance):
        status = record.dagster_run.status
        began, ended = record.start_time, record.end_time
        assert (ended is None) == (status in {DagsterRunStatus.STARTED, DagsterRunStatus.QUEUED})
        assert began is not None or status in {DagsterRunStatus.CANCELED, DagsterRunStatus.QUEUED}
        moments = [each for each in (record.create_timestamp.timestamp(), began, ended) if each is not None]
        assert moments == sorted(moments)


def test_few_runs_go_on_and_some_have_failed(instance: DagsterInstance) -> None:
    """A handful is queued or running; a twentieth or so has failed."""
    of = {
        status: instance.get_runs_count(RunsFilter(statuses=[status]))
        for status in (DagsterRunStatus.QUEUED, DagsterRunStatus.STARTED, DagsterRunStatus.FAILURE)
    }
    assert of[DagsterRunStatus.QUEUED] == of[DagsterRunStatus.STARTED] == RARE / 2
    assert 5 <= of[DagsterRunStatus.FAILURE] <= 30


def test_the_indexes_are_dagsters_again(record: Record) -> None:
    """What was dropped for the seeding is there afterwards."""
    declared = {
        index.name
        for metadata in (RunStorageSqlMetadata, SqlEventLogStorageMetadata)
        for table in metadata.tables.values()
        for index in table.indexes
        if table.name in {"runs", "run_tags", "event_logs"}
    }
    with closing(psycopg2.connect(record.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")
        there = {name for (name,) in cursor.fetchall()}
    assert declared - there == set()


def test_the_landmarks_have_the_nodes_and_lines_that_they_are_named_for(record: Record) -> None:
    """One run has 20 nodes, one as many as were asked for, and one as many lines, in the order of their times."""
    with open_storage(record.url) as storage:
        for dagster_id, nodes in ((record.landmarks.twenty, 20), (record.landmarks.wide, SIZE.wide_run)):
            found = storage.read_nodes(dagster_id)
            assert found is not None
            assert [node.status for node in found[1]] == ["succeeded"] * nodes
            assert all(node.metrics for node in found[1])
    with closing(psycopg2.connect(record.url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            'SELECT "timestamp" FROM event_logs WHERE run_id = %s AND dagster_event_type IS NULL ORDER BY id',
            (record.landmarks.long,),
        )
        times = cursor.fetchall()
    assert len(times) == SIZE.long_log
    assert times == sorted(times)


def test_dagster_reads_every_event(record: Record, instance: DagsterInstance) -> None:
    """Events of bulk runs and of the landmarks are entries of Dagster's, of the run that they stand under."""
    with_events = bulk_runs(instance)[-SIZE.runs_with_events :]
    ids = [each.dagster_run.run_id for each in with_events if each.dagster_run.is_success]
    for run_id in (*ids, record.landmarks.long):
        found = instance.get_records_for_run(run_id, limit=10_000)
        entries = [each.event_log_entry for each in found.records]
        assert {entry.run_id for entry in entries} == {run_id}
        assert entries[-1].dagster_event_type is not None
        assert entries[-1].dagster_event_type.value == "PIPELINE_SUCCESS"


def test_our_storage_tells_the_runs_as_dagster_does(record: Record, instance: DagsterInstance) -> None:
    """The list of all runs is the same, in the same order."""
    with open_storage(record.url) as storage:
        ours = storage.list_runs(RunFilter(), limit=SIZE.runs + LANDMARKS)
    theirs = instance.get_run_records()
    assert [run.dagster_id for run in ours] == [each.dagster_run.run_id for each in theirs]
    assert [run.status for run in ours] == [STATUS_OF[each.dagster_run.status.value] for each in theirs]
