"""What a worker's instance keeps and refuses when processes and servers die, and what it looks like after a fork."""

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    In,
    JobDefinition,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    graph,
    in_process_executor,
    op,
)
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from planasonix_orchestrator.run_host.database import DatabaseGoneError
from planasonix_orchestrator.run_host.storage import open_worker_instance
from planasonix_orchestrator.runtime.leftovers import POSTGRES_FOLDER, guarded
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres
from tests.api.waiting import wait_until
from tests.conftest import superuser
from tests.run_host.storing import event_of, kinds_of, line_of, make_run, rows_of, status_of, write_home

pytestmark = pytest.mark.stack

TYPE = DagsterEventType

# Says what a fork would copy, then forks the workers that each line asks for, and tells what each says.
ZYGOTE = """
import json, os, pathlib, signal, sys, threading
from dagster import DagsterEventType
from planasonix_orchestrator.run_host.storage import RunNotWantedError, open_worker_instance, prepare_for_fork, warm_up
from tests.api.waiting import wait_until
from tests.conftest import superuser
from tests.run_host.storing import event_of, line_of

def start(run_id):
    instance.handle_new_event(event_of(run_id, DagsterEventType.RUN_START, message=str(os.getpid())))
    return "started"

def die(run_id):
    for number in range(3):
        instance.handle_new_event(line_of(run_id, f"line {number}"))
    instance.handle_new_event(event_of(run_id, DagsterEventType.STEP_SUCCESS, step_key="node"))
    os.kill(os.getpid(), signal.SIGKILL)

def tell(run_id):
    instance.report_engine_event("hello", run_id=run_id, job_name="nothing")
    instance.dispose()
    return str(instance.get_run_by_id(run_id).status.value)

instance = open_worker_instance(sys.argv[1])
prepare_for_fork(instance)
tasks = pathlib.Path("/proc/self/task")
print(json.dumps([threading.active_count(), len(list(tasks.iterdir())) if tasks.exists() else 1]), flush=True)
for line in sys.stdin:
    action, run_id, count = json.loads(line)
    ready, go = os.pipe()
    told, tell_it = os.pipe()
    workers = []
    for _ in range(count):
        workers.append(os.fork())
        if workers[-1] == 0:
            os.close(go)
            warm_up(instance)
            os.read(ready, 1)  # until all are there
            try:
                answer = globals()[action](run_id)
            except RunNotWantedError:
                answer = "not wanted"
            os.write(tell_it, (answer + "\\n").encode())
            os._exit(0)
    os.close(ready), os.close(go), os.close(tell_it)
    codes = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
    with os.fdopen(told) as answers:
        print(json.dumps([sorted(answers.read().split("\\n")[:-1]), codes]), flush=True)
"""


@pytest.fixture(scope="module")
def url(module_postgres_url: str) -> str:
    return module_postgres_url


@pytest.fixture(scope="module")
def home(url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_home(tmp_path_factory.mktemp("dagster"), url=url)


@pytest.fixture(scope="module")
def stock(home: str) -> Iterator[DagsterInstance]:
    with DagsterInstance.from_config(home) as instance:
        yield instance


@pytest.fixture(scope="module")
def zygote(stock: DagsterInstance, home: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", ZYGOTE, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == [1, 1], "threads of Python, and of all libraries"
        yield process


def ask(zygote: subprocess.Popen[str], action: str, run_id: str, *, workers: int = 1) -> Any:
    """What workers say and how they exit."""
    assert zygote.stdin is not None
    assert zygote.stdout is not None
    print(json.dumps([action, run_id, workers]), file=zygote.stdin, flush=True)
    return json.loads(zygote.stdout.readline())


def test_a_forked_worker_works(zygote: subprocess.Popen[str], stock: DagsterInstance, url: str) -> None:
    """The process it was forked from had a single thread and no connection."""
    run_id = make_run(stock)
    assert ask(zygote, "tell", run_id, workers=3) == [["STARTED"] * 3, [0] * 3]
    assert kinds_of(url, run_id) == ["ENGINE_EVENT"] * 3


def test_a_node_has_succeeded_only_when_that_is_stored(
    zygote: subprocess.Popen[str], stock: DagsterInstance, url: str
) -> None:
    """A worker killed the moment after has lost nothing of what came before."""
    run_id = make_run(stock)
    assert ask(zygote, "die", run_id) == [[], [-signal.SIGKILL]]
    assert kinds_of(url, run_id) == [None, None, None, "STEP_SUCCESS"]


def test_one_of_many_workers_starts_a_run(zygote: subprocess.Popen[str], stock: DagsterInstance, url: str) -> None:
    """All try at the same moment."""
    for _ in range(3):
        run_id = make_run(stock, DagsterRunStatus.STARTING)
        answers, _ = ask(zygote, "start", run_id, workers=4)
        assert answers == ["not wanted", "not wanted", "not wanted", "started"]
        assert kinds_of(url, run_id) == ["PIPELINE_START"]
        assert status_of(url, run_id) == "STARTED"


@pytest.fixture
def worker(stock: DagsterInstance, home: str) -> Iterator[DagsterInstance]:
    with open_worker_instance(home) as instance:
        yield instance


@contextmanager
def failing(instance: DagsterInstance, moment: str, *, statement: str, times: int) -> Iterator[None]:
    """The connection is lost `before` or `after` a statement was executed, the first few times."""
    engine = instance.event_log_storage._engine  # type: ignore[attr-defined]
    left = [times]

    def lose(_connection: Any, cursor: Any, executed: str, *_: Any) -> None:
        if executed.startswith(statement) and left[0]:
            left[0] -= 1
            cursor.connection.close()
            raise psycopg2.OperationalError("server closed the connection unexpectedly")

    event.listen(engine, f"{moment}_cursor_execute", lose)
    try:
        yield
    finally:
        event.remove(engine, f"{moment}_cursor_execute", lose)
    assert not left[0]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("statement", ["BEGIN", "INSERT INTO event_logs", "UPDATE runs", "COMMIT"])
def test_a_lost_connection_loses_and_doubles_nothing(
    moment: str, statement: str, worker: DagsterInstance, stock: DagsterInstance, url: str
) -> None:
    """Not even when the answer to the commit is lost: the batch is looked for before it is written again."""
    run_id = make_run(stock, DagsterRunStatus.STARTING)
    with failing(worker, moment, statement=statement, times=3 if (moment, statement) != ("after", "COMMIT") else 1):
        worker.handle_new_event(line_of(run_id, "about to start"))
        worker.handle_new_event(event_of(run_id, TYPE.RUN_START))
    worker.handle_new_event(event_of(run_id, TYPE.RUN_SUCCESS))
    assert kinds_of(url, run_id) == [None, "PIPELINE_START", "PIPELINE_SUCCESS"]
    assert status_of(url, run_id) == "SUCCESS"


def test_a_transaction_waits_for_one_whose_end_nobody_saw(
    worker: DagsterInstance, stock: DagsterInstance, url: str
) -> None:
    """The server may still be at work on what a lost connection has asked for."""
    run_id = make_run(stock)
    worker.handle_new_event(event_of(run_id, TYPE.STEP_SUCCESS, step_key="first"))
    fence = worker.event_log_storage._database._fence  # type: ignore[attr-defined]
    with superuser(url) as lost:
        lost.execute("SELECT pg_advisory_lock(%s)", (fence,))
        second = event_of(run_id, TYPE.STEP_SUCCESS, step_key="second")
        storing = threading.Thread(target=worker.handle_new_event, args=(second,))
        storing.start()
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND (classid::int8 << 32 | objid::int8) = %s"
        wait_until(lambda: bool(rows_of(url, waiting, fence)), seconds=10)
        assert kinds_of(url, run_id) == ["STEP_SUCCESS"]
    storing.join()
    assert kinds_of(url, run_id) == ["STEP_SUCCESS", "STEP_SUCCESS"]


TERMINATE = (
    "SELECT count(pg_terminate_backend(pid, %s)) FROM pg_stat_activity"
    " WHERE application_name = 'planasonix-run' AND datname = current_database() AND pid = coalesce(%s, pid)"
)


def terminate(url: str, *, pid: int | None = None) -> int:
    """End the worker's connections, or one of them, from the server's side; return how many there were."""
    ((ended,),) = rows_of(url, TERMINATE, 1000, pid)
    return int(ended)


def test_a_read_is_read_again(worker: DagsterInstance, url: str) -> None:
    """On a new connection, without its reader noticing; a write of which nobody knows whether it counted is not."""
    with worker.run_storage.connect() as connection:  # type: ignore[attr-defined]
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        assert terminate(url, pid=pid) == 1
        assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid
    with worker.run_storage.connect() as connection:  # type: ignore[attr-defined]
        assert terminate(url) >= 1
        with pytest.raises(OperationalError):
            connection.execute(text("UPDATE runs SET status = 'SUCCESS'"))


def chain_of(length: int, *, work: Callable[[int], None]) -> JobDefinition:
    """A job of nodes one after the other; each does the work, given its number."""

    def node(number: int) -> OpDefinition:
        @op(name=f"node_{number}", ins={"before": In(Nothing)} if number else None)
        def compute(context: OpExecutionContext) -> None:
            context.log.info("%s works", context.op_handle.name)
            work(number)

        return compute

    @graph
    def chain() -> None:
        before = node(0)()
        for number in range(1, length):
            before = node(number)(before)

    return chain.to_job(executor_def=in_process_executor)


def rest(_number: int) -> None:
    """Work that harms nobody."""


def test_a_run_succeeds_over_connections_that_do_not_last(
    worker: DagsterInstance, stock: DagsterInstance, url: str
) -> None:
    """They end while each node's events are written; the log is that of a run that nobody disturbed."""
    delays = random.Random(4)  # noqa: S311  # not a secret
    disturbers: list[threading.Timer] = []
    ended: list[int] = []

    def disturb(_number: int) -> None:
        disturbers.append(threading.Timer(delays.uniform(0, 0.02), lambda: ended.append(terminate(url))))
        disturbers[-1].start()

    undisturbed = chain_of(15, work=rest).execute_in_process(instance=stock)
    disturbed = chain_of(15, work=disturb).execute_in_process(instance=worker)
    for disturber in disturbers:
        disturber.join()
    assert disturbed.success
    assert sum(ended) > 5
    assert outline_of(stock, disturbed.run_id) == outline_of(stock, undisturbed.run_id)
    assert status_of(url, disturbed.run_id) == "SUCCESS"


def outline_of(stock: DagsterInstance, run_id: str) -> list[tuple[Any, ...]]:
    """The events of a run."""
    entries = stock.all_logs(run_id)
    return [
        (entry.dagster_event_type, entry.step_key, not entry.is_dagster_event and entry.message) for entry in entries
    ]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, to be killed."""
    server = EmbeddedPostgres(tmp_path / POSTGRES_FOLDER)
    with guarded(tmp_path):
        server.start(log=tmp_path / "postgres.log")
        try:
            yield server
        finally:
            server.stop()


def kill(server: EmbeddedPostgres) -> None:
    """Kill the server, as a loss of power would."""
    process = server._process
    assert process is not None
    process.kill()
    process.wait()


def test_a_server_that_was_killed_and_comes_back_is_waited_for(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Amid a run; nothing that had counted is lost, and the run ends well."""
    home = write_home(tmp_path / "dagster", url=server.url())
    back = threading.Timer(0.5, server.start, kwargs={"log": tmp_path / "postgres.log"})

    def crash(number: int) -> None:
        if number == 1:
            kill(server)
            back.start()

    with DagsterInstance.from_config(home) as stock, open_worker_instance(home) as worker:
        undisturbed = chain_of(5, work=rest).execute_in_process(instance=stock)
        disturbed = chain_of(5, work=crash).execute_in_process(instance=worker)
        back.join()
        assert disturbed.success
        assert outline_of(stock, disturbed.run_id) == outline_of(stock, undisturbed.run_id)
        assert status_of(server.url(), disturbed.run_id) == "SUCCESS"


def test_patience_ends(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Once, not for each event anew; what was to be stored is stored when the server is back, in its place."""
    home = write_home(tmp_path / "dagster", url=server.url())
    with open_worker_instance(home, patience=0.4) as worker:
        run_id = make_run(worker)
        worker.handle_new_event(line_of(run_id, "first"))
        kill(server)
        with pytest.raises(DatabaseGoneError, match=r"away for 0\.4 seconds"):
            worker.handle_new_event(event_of(run_id, TYPE.STEP_SUCCESS, step_key="node"))
        with pytest.raises(DatabaseGoneError):
            worker.get_run_by_id(run_id)
        server.start(log=tmp_path / "postgres.log")
        worker.handle_new_event(event_of(run_id, TYPE.RUN_SUCCESS))
        assert kinds_of(server.url(), run_id) == [None, "STEP_SUCCESS", "PIPELINE_SUCCESS"]
