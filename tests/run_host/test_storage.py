"""A worker's instance: it records what Dagster's own would, in fewer transactions; a run's status changes lawfully."""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetKey,
    AssetMaterialization,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    Failure,
    MetadataValue,
    OpExecutionContext,
    Output,
    RetryPolicy,
    asset,
    define_asset_job,
    in_process_executor,
    job,
    op,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._serdes import serialize_value
from sqlalchemy import event

from planasonix_orchestrator.contract.cancellation import store_intent
from planasonix_orchestrator.run_host.storage import (
    CANCELED_FIRST,
    RunNotWantedError,
    UnsupportedStorageError,
    open_host_instance,
    open_worker_instance,
    prepare_for_fork,
)
from tests.api.waiting import wait_until
from tests.run_host.storing import (
    event_of,
    kinds_of,
    line_of,
    make_run,
    nothing,
    rows_of,
    status_of,
    write_home,
)

TYPE = DagsterEventType
TABLE = AssetKey("table")


@op
def produce(context: OpExecutionContext) -> int:
    context.log.info("made")
    context.log_event(AssetMaterialization(TABLE, metadata={"rows": MetadataValue.int(3)}))
    return 3


@op(retry_policy=RetryPolicy(max_retries=1))
def unsteady(context: OpExecutionContext, n: int) -> int:
    if context.retry_number == 0:
        raise Failure("not yet")
    return n


@op
def broken(n: int) -> int:
    raise ValueError("broken")


@op
def after(n: int) -> None:
    pass


@job(executor_def=in_process_executor)
def good() -> None:
    after(unsteady(produce()))


@job(executor_def=in_process_executor)
def bad() -> None:
    after(broken(produce()))


@asset(check_specs=[AssetCheckSpec("is_small", asset="source")])
def source() -> Iterator[Any]:
    yield Output(1, metadata={"rows": 1})
    yield AssetCheckResult(passed=True, check_name="is_small")


@asset(code_version="2")
def target(source: int) -> int:
    return source + 1


assets = Definitions(assets=[source, target], jobs=[define_asset_job("assets")]).resolve_job_def("assets")


@pytest.fixture(scope="module")
def home(module_postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_home(tmp_path_factory.mktemp("dagster"), url=module_postgres_url)


@pytest.fixture(scope="module")
def stock(home: str) -> Iterator[DagsterInstance]:
    with DagsterInstance.from_config(home) as instance:
        yield instance


@pytest.fixture
def worker(stock: DagsterInstance, home: str) -> Iterator[DagsterInstance]:
    with open_worker_instance(home) as instance:
        yield instance


@pytest.fixture
def host(stock: DagsterInstance, home: str) -> Iterator[DagsterInstance]:
    with open_host_instance(home) as instance:
        yield instance


@pytest.fixture
def commits(worker: DagsterInstance) -> Iterator[list[str]]:
    """The transactions that the worker's instance commits during the test."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement == "COMMIT":
            found.append(statement)

    engine = worker.event_log_storage._engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def intend(instance: DagsterInstance, run_id: str) -> None:
    """Ask that a run be canceled."""
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection = connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            assert store_intent(connection, run_id, by="ann", at=datetime.now(UTC)) is not None


def scrubbed(text: str, run_id: str) -> str:
    """A record without what differs between any two runs."""
    text = text.replace(run_id, "RUN")
    text = re.sub(r"(pid: )\d+|\d+(\.\d+)?m?s\b", r"\1N", text)
    text = re.sub(r'("(?:pid|storage_id)": )(\{[^}]*\}|\d+)', r"\g<1>0", text)
    text = re.sub(r'"[0-9a-f-]{36,64}"|"[a-z]{8}"', '"ID"', text)  # data versions, names of files of output
    text = re.sub(r'(/input_event_pointer/\w+": )"\d+"', r"\1null", text)
    return re.sub(r"\d+\.\d+", "0", text)


def log_of(stock: DagsterInstance, run_id: str) -> list[Any]:
    """All that is recorded of a run's course, as Dagster's own storage reads it."""
    return [json.loads(scrubbed(serialize_value(entry), run_id)) for entry in stock.all_logs(run_id)]


def columns_of(url: str, run_id: str) -> list[tuple[Any, ...]]:
    """The columns of a run's events, and whether their moments are those of the events."""
    columns = "dagster_event_type, step_key, asset_key, partition, timestamp, event::json->>'timestamp'"
    rows = rows_of(url, f"SELECT {columns} FROM event_logs WHERE run_id = %s ORDER BY id", run_id)
    return [
        (*row[:4], row[4].replace(tzinfo=UTC).timestamp() == pytest.approx(float(row[5]), abs=1e-5)) for row in rows
    ]


@pytest.mark.parametrize("of_job", [good, bad, assets], ids=lambda of_job: of_job.name)
def test_the_record_is_as_dagster_would_have_it(
    of_job: Any, stock: DagsterInstance, worker: DagsterInstance, module_postgres_url: str
) -> None:
    """The same events in the same order, the same run, the same tags, the same facts about assets and checks."""
    facts: list[Any] = []
    for instance in (stock, worker):
        run_id = of_job.execute_in_process(instance=instance, raise_on_error=False).run_id
        record = stock.get_run_record_by_id(run_id)
        assert record is not None
        assert record.start_time is not None
        assert record.end_time is not None
        assert record.start_time <= record.end_time
        assert record.update_timestamp.timestamp() == pytest.approx(record.end_time, abs=1e-5)
        stats = stock.get_run_stats(run_id)
        facts.append(
            {
                "log": log_of(stock, run_id),
                "columns": columns_of(module_postgres_url, run_id),
                "run": json.loads(scrubbed(serialize_value(record.dagster_run), run_id)),
                "tags": rows_of(module_postgres_url, "SELECT key, value FROM run_tags WHERE run_id = %s", run_id),
                "stats": (
                    stats.steps_succeeded,
                    stats.steps_failed,
                    stats.materializations,
                    stats.end_time == record.end_time,
                ),
                "steps": [(each.step_key, each.status, each.attempts) for each in stock.get_run_step_stats(run_id)],
                "assets": assets_of(stock, run_id, module_postgres_url),
            }
        )
    for part, expected in facts[0].items():
        assert facts[1][part] == expected, part


def assets_of(stock: DagsterInstance, run_id: str, url: str) -> list[Any]:
    """What is recorded of assets beside the log."""
    records = stock.get_asset_records([TABLE, AssetKey("source"), AssetKey("target")])
    entries = [
        (
            record.asset_entry.asset_key,
            record.asset_entry.last_run_id == run_id,
            record.asset_entry.last_materialization is not None
            and scrubbed(serialize_value(record.asset_entry.last_materialization), run_id),
        )
        for record in sorted(records, key=lambda record: record.asset_entry.asset_key)
    ]
    tags = rows_of(
        url,
        "SELECT t.asset_key, t.key, count(*) FROM asset_event_tags t JOIN event_logs e ON e.id = t.event_id"
        " WHERE e.run_id = %s GROUP BY 1, 2 ORDER BY 1, 2",
        run_id,
    )
    checks = rows_of(
        url,
        "SELECT c.asset_key, check_name, execution_status, e.dagster_event_type FROM asset_check_executions c"
        " JOIN event_logs e ON e.id = c.evaluation_event_storage_id WHERE c.run_id = %s",
        run_id,
    )
    return [entries, tags, checks]


def test_a_node_costs_one_transaction(worker: DagsterInstance, commits: list[str]) -> None:
    """Its success takes along all that was waiting; the end of the run is one more, and its start."""
    run_id = good.execute_in_process(instance=worker).run_id
    kinds = Counter(entry.dagster_event_type for entry in worker.all_logs(run_id))
    deciding = (
        kinds[TYPE.STEP_SUCCESS] + kinds[TYPE.STEP_UP_FOR_RETRY] + kinds[TYPE.RUN_START] + kinds[TYPE.RUN_SUCCESS]
    )
    assert deciding == 6
    # What came after the last of them is written when it is due, or read.
    assert deciding <= len(commits) <= deciding + 3
    assert kinds.total() > 3 * deciding


def test_lines_of_a_log_are_there_soon(worker: DagsterInstance, module_postgres_url: str, commits: list[str]) -> None:
    """Without anybody waiting for them, and together."""
    run_id = make_run(worker)
    for number in range(50):
        worker.handle_new_event(line_of(run_id, f"line {number}"))
    wait_until(lambda: len(kinds_of(module_postgres_url, run_id)) == 50, seconds=5)
    assert [entry.user_message for entry in worker.all_logs(run_id)] == [f"line {number}" for number in range(50)]
    assert len(commits) <= 2


def test_a_process_finds_what_it_has_stored(worker: DagsterInstance) -> None:
    """Reads come after the writes of before."""
    run_id = make_run(worker)
    worker.handle_new_event(line_of(run_id, "first"))
    assert [entry.user_message for entry in worker.all_logs(run_id)] == ["first"]


def test_disposing_writes_what_waits(home: str, stock: DagsterInstance, module_postgres_url: str) -> None:
    """And the instance can be used again."""
    run_id = make_run(stock)
    instance = open_worker_instance(home)
    instance.handle_new_event(line_of(run_id, "first"))
    instance.dispose()
    assert len(kinds_of(module_postgres_url, run_id)) == 1
    instance.handle_new_event(line_of(run_id, "second"))
    instance.dispose()
    assert len(kinds_of(module_postgres_url, run_id)) == 2


def test_nodes_in_threads_share_transactions(
    worker: DagsterInstance, module_postgres_url: str, commits: list[str]
) -> None:
    """Each thread's events are there when its node's success is, in the order in which it stored them."""
    run_id = make_run(worker)
    missing: list[str] = []

    def work(node: str) -> None:
        for round_ in range(5):
            worker.handle_new_event(line_of(run_id, f"{node} {round_}"))
            worker.handle_new_event(event_of(run_id, TYPE.STEP_SUCCESS, step_key=node))
            stored = rows_of(
                module_postgres_url, f"SELECT 1 FROM event_logs WHERE run_id = %s AND step_key = '{node}'", run_id
            )
            if len(stored) != round_ + 1:
                missing.append(f"{node} {round_}")

    threads = [threading.Thread(target=work, args=(f"node_{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not missing
    lines = [entry.user_message for entry in worker.all_logs(run_id) if entry.user_message]
    for number in range(8):
        assert [line for line in lines if line.startswith(f"node_{number} ")] == [
            f"node_{number} {n}" for n in range(5)
        ]
    assert len(commits) < 40


def test_success_after_an_intent_is_not_stored(
    worker: DagsterInstance, stock: DagsterInstance, module_postgres_url: str
) -> None:
    """Nor is failure; the run stays as it is, and the log says why."""
    for kind in (TYPE.RUN_SUCCESS, TYPE.RUN_FAILURE):
        run_id = make_run(stock)
        intend(stock, run_id)
        worker.handle_new_event(line_of(run_id, "the last words"))
        worker.handle_new_event(event_of(run_id, kind))
        assert status_of(module_postgres_url, run_id) == "STARTED"
        assert [entry.message for entry in stock.all_logs(run_id)] == ["the last words", CANCELED_FIRST]


def test_an_intent_of_the_parent_does_not_count(
    worker: DagsterInstance, stock: DagsterInstance, module_postgres_url: str
) -> None:
    """A re-execution takes over its parent's tags."""
    parent = make_run(stock)
    intend(stock, parent)
    tags = stock.get_run_by_id(parent).tags  # type: ignore[union-attr]
    run_id = stock.create_run_for_job(nothing, status=DagsterRunStatus.STARTED, tags=dict(tags)).run_id
    worker.handle_new_event(event_of(run_id, TYPE.RUN_SUCCESS))
    assert status_of(module_postgres_url, run_id) == "SUCCESS"


@pytest.mark.parametrize("status", ["CANCELING", "CANCELED", "FAILURE", "SUCCESS"])
def test_a_run_that_ends_or_has_ended_does_not_end_otherwise(
    status: str, worker: DagsterInstance, stock: DagsterInstance, module_postgres_url: str
) -> None:
    """Whoever said so first was right."""
    run_id = make_run(stock, DagsterRunStatus(status))
    for kind in (TYPE.RUN_SUCCESS, TYPE.RUN_FAILURE):
        worker.handle_new_event(event_of(run_id, kind))
        assert status_of(module_postgres_url, run_id) == status
    assert set(kinds_of(module_postgres_url, run_id)) <= {"ENGINE_EVENT"}


def test_a_worker_does_not_record_a_cancellation(
    worker: DagsterInstance, stock: DagsterInstance, module_postgres_url: str
) -> None:
    """It still lives; what it had to say is stored all the same."""
    run_id = make_run(stock, DagsterRunStatus.CANCELING)
    worker.handle_new_event(line_of(run_id, "stopped"))
    worker.handle_new_event(event_of(run_id, TYPE.RUN_CANCELED))
    assert kinds_of(module_postgres_url, run_id) == [None]
    assert status_of(module_postgres_url, run_id) == "CANCELING"


def test_the_host_records_a_cancellation(
    host: DagsterInstance, stock: DagsterInstance, module_postgres_url: str
) -> None:
    """Once, and of a run that has not ended."""
    run_id = make_run(stock)
    for _ in range(2):
        host.handle_new_event(event_of(run_id, TYPE.RUN_CANCELING))
    for _ in range(2):
        host.handle_new_event(event_of(run_id, TYPE.RUN_CANCELED))
    assert kinds_of(module_postgres_url, run_id) == ["PIPELINE_CANCELING", "PIPELINE_CANCELED"]
    ended = make_run(stock, DagsterRunStatus.SUCCESS)
    for kind in (TYPE.RUN_CANCELING, TYPE.RUN_CANCELED):
        host.handle_new_event(event_of(ended, kind))
    assert (kinds_of(module_postgres_url, ended), status_of(module_postgres_url, ended)) == ([], "SUCCESS")


def test_the_host_gives_a_run_to_one_worker(
    host: DagsterInstance, stock: DagsterInstance, module_postgres_url: str
) -> None:
    """And none that was canceled while it waited."""
    run_id = make_run(stock, DagsterRunStatus.QUEUED)
    host.handle_new_event(event_of(run_id, TYPE.RUN_STARTING))
    with pytest.raises(RunNotWantedError):
        host.handle_new_event(event_of(run_id, TYPE.RUN_STARTING))
    canceled = make_run(stock, DagsterRunStatus.QUEUED)
    intend(stock, canceled)
    with pytest.raises(RunNotWantedError):
        host.handle_new_event(event_of(canceled, TYPE.RUN_STARTING))
    host.handle_new_event(event_of(canceled, TYPE.RUN_CANCELED))
    assert status_of(module_postgres_url, canceled) == "CANCELED"


@pytest.mark.parametrize("status", ["STARTED", "CANCELING", "CANCELED", "FAILURE", "SUCCESS", "intended", "started"])
def test_a_run_that_is_not_wanted_does_not_start(
    status: str, worker: DagsterInstance, stock: DagsterInstance, module_postgres_url: str
) -> None:
    """The worker leaves no trace: nothing of what it does later is stored, either."""
    made = "STARTING" if status == "intended" else "QUEUED" if status == "started" else status
    run_id = make_run(stock, DagsterRunStatus(made))
    if status == "intended":
        intend(stock, run_id)
    if status == "started":  # and queued again by mistake
        stock.handle_new_event(event_of(run_id, TYPE.RUN_START))
        stock.handle_new_event(event_of(run_id, TYPE.RUN_ENQUEUED))
        made = "QUEUED"
    before = kinds_of(module_postgres_url, run_id)
    worker.handle_new_event(line_of(run_id, "about to start"))
    with pytest.raises(RunNotWantedError):
        worker.handle_new_event(event_of(run_id, TYPE.RUN_START))
    worker.handle_new_event(event_of(run_id, TYPE.RUN_FAILURE))
    worker.dispose()
    assert kinds_of(module_postgres_url, run_id) == before
    assert status_of(module_postgres_url, run_id) == made


def test_execution_ends_where_a_run_is_not_wanted(worker: DagsterInstance, stock: DagsterInstance) -> None:
    """Dagster lets the error through, and no node is executed."""
    run = stock.create_run_for_job(good, status=DagsterRunStatus.STARTING)
    intend(stock, run.run_id)
    with pytest.raises(RunNotWantedError):
        list(execute_run_iterator(InMemoryJob(good), run, worker))
    assert not stock.all_logs(run.run_id)


def test_tags_are_added_without_losing_others(worker: DagsterInstance, stock: DagsterInstance) -> None:
    """What two threads add at once both stands on the run, in its body as well."""
    run_id = make_run(stock)
    threads = [threading.Thread(target=worker.add_run_tags, args=(run_id, {f"tag_{n}": "x"})) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = stock.get_run_by_id(run_id)
    assert run is not None
    assert {f"tag_{n}" for n in range(6)} <= set(run.tags)


def test_few_connections_and_no_thread(worker: DagsterInstance, module_postgres_url: str) -> None:
    """A run needs two connections at most; one that is prepared for a fork has none, and no thread."""
    before = threading.active_count()
    run_id = make_run(worker)
    worker.handle_new_event(line_of(run_id, "first"))
    worker.all_logs(run_id)
    assert 1 <= connections_of(module_postgres_url) <= 2
    prepare_for_fork(worker)
    wait_until(lambda: connections_of(module_postgres_url) == 0, seconds=5)
    assert threading.active_count() <= before


def connections_of(url: str) -> int:
    """How many connections workers have to a database."""
    ((found,),) = rows_of(
        url,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'planasonix-run' AND datname = current_database()",
    )
    return int(found)


def test_opening_leaves_nothing(worker: DagsterInstance, module_postgres_url: str) -> None:
    """What is rehearsed is undone."""
    found = "SELECT (SELECT count(*) FROM runs WHERE pipeline_name = 'rehearsal'),"
    found += " (SELECT count(*) FROM event_logs WHERE run_id NOT IN (SELECT run_id FROM runs))"
    assert rows_of(module_postgres_url, found) == [(0, 0)]


def test_another_process_can_open_the_like(worker: DagsterInstance) -> None:
    """Dagster's executors that start processes hand the instance on by its description."""
    with DagsterInstance.from_ref(worker.get_ref()) as other:
        assert type(other.event_log_storage) is type(worker.event_log_storage)


def test_only_postgres_will_do(tmp_path: Path) -> None:
    """Anything else has no rows to lock."""
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with pytest.raises(UnsupportedStorageError, match="DagsterSqliteStorage"):
        open_worker_instance(str(tmp_path))
