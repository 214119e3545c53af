"""The embedded Postgres: it starts anywhere, keeps what it promised, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from planasonix_orchestrator.runtime.errors import PostgresError
from planasonix_orchestrator.runtime.leftovers import STACK_VARIABLE, end_leftovers
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres

pytestmark = pytest.mark.stack

# It starts a server in a guarded folder, says so, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from planasonix_orchestrator.runtime.leftovers import guarded
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres
folder = Path(sys.argv[1])
with guarded(folder):
    EmbeddedPostgres(folder / "postgres").start(log=folder / "postgres.log")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server that runs, in a folder whose name needs quoting in a URL."""
    server = EmbeddedPostgres(tmp_path / "a, b & +%" / "postgres")
    server.start(log=tmp_path / "postgres.log")
    yield server
    server.stop()


def query(server: EmbeddedPostgres, statement: str) -> object:
    """Run a statement in a transaction of its own and return the first value, if any."""
    connection = psycopg2.connect(server.url())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def processes_of(data: Path) -> list[psutil.Process]:
    """The Postgres processes that work in the data directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(data):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    """Return when the condition holds; the test fails if it does not come to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_it_listens_on_a_private_socket_only(server: EmbeddedPostgres) -> None:
    """There is no TCP port, and the folder of the socket is closed to others."""
    assert query(server, "SHOW listen_addresses") == ""
    assert server.socket_folder.stat().st_mode & 0o077 == 0


def test_a_committed_row_is_on_disk(server: EmbeddedPostgres) -> None:
    """Commits wait for the disk, as Dagster's record of runs demands."""
    assert (query(server, "SHOW synchronous_commit"), query(server, "SHOW fsync")) == ("on", "on")


def test_creating_a_database_twice_is_no_error(server: EmbeddedPostgres) -> None:
    """`create_database` leaves a database that exists as it is."""
    server.create_database("planasonix")
    server.create_database("planasonix")
    assert query(server, "SELECT count(*) FROM pg_database WHERE datname = 'planasonix'") == 1


def test_a_killed_server_starts_again_with_its_rows(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """After kill -9 of the postmaster the next start recovers what was committed."""
    query(server, "CREATE TABLE kept AS SELECT 7 AS n")
    os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    again = EmbeddedPostgres(server.data)
    again.start(log=tmp_path / "again.log")
    assert query(again, "SELECT n FROM kept") == 7
    again.stop()
    assert processes_of(server.data) == []


def test_a_stale_pid_file_with_a_living_pid_is_no_obstacle(tmp_path: Path) -> None:
    """A pid file that now names another process, as after a reboot, does not keep the server from starting."""
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start(log=tmp_path / "postgres.log")
    pid_file = (server.data / "postmaster.pid").read_text()
    server.stop()
    (server.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *pid_file.splitlines()[1:]]) + "\n")
    server.start(log=tmp_path / "postgres.log")
    assert server.is_running()
    server.stop()
    assert not server.is_running()


def test_a_path_too_long_for_a_socket_is_no_obstacle(tmp_path: Path) -> None:
    """Where the path of the data is longer than a socket's may be, the socket lies in a short, private folder."""
    server = EmbeddedPostgres(tmp_path / ("deep" * 30) / "postgres")
    server.start(log=tmp_path / "postgres.log")
    try:
        assert query(server, "SELECT 1") == 1
        assert server.socket_folder != server.data
        assert server.socket_folder.stat().st_mode & 0o077 == 0
    finally:
        server.stop()
    assert not server.socket_folder.exists()


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A folder in the place of the private one that others can enter may be a trap."""
    server = EmbeddedPostgres(tmp_path / ("deep" * 30) / "postgres")
    server.socket_folder.mkdir(mode=0o777)
    server.socket_folder.chmod(0o777)
    try:
        with pytest.raises(PostgresError, match="not a private folder"):
            server.start(log=tmp_path / "postgres.log")
    finally:
        server.socket_folder.rmdir()


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    """Data of another major version is left alone, and the error says what to do."""
    data = tmp_path / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("12\n")
    with pytest.raises(PostgresError, match="pg_dump"):
        EmbeddedPostgres(data).start(log=tmp_path / "postgres.log")


def test_it_does_not_outlive_a_killed_owner(tmp_path: Path) -> None:
    """Kill -9 of the process that started the server ends the server too."""
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        assert processes_of(tmp_path / "postgres") != []
        owner.kill()
    wait_until(lambda: processes_of(tmp_path / "postgres") == [])


def test_leftovers_are_found_wherever_they_hide(tmp_path: Path) -> None:
    """A process that left its group and lost its parent is ended, by the state directory in its environment."""
    hide = (
        "from subprocess import DEVNULL, Popen\n"
        "print(Popen(['sleep', '600'], stdout=DEVNULL, stderr=DEVNULL, start_new_session=True).pid)"
    )
    environment = {**os.environ, STACK_VARIABLE: str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", hide], env=environment, stdout=subprocess.PIPE, check=True, text=True)
    hidden = psutil.Process(int(done.stdout))
    end_leftovers(tmp_path / "another")
    assert hidden.is_running()
    end_leftovers(tmp_path)
    wait_until(lambda: not hidden.is_running() or hidden.status() == psutil.STATUS_ZOMBIE)
