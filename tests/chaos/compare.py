"""``python -m tests.chaos.compare``: the same cancellations and kills with Dagster's stock parts and with ours.

Prints tables in Markdown. A cell: after how many seconds the run read canceled; and, if later, after how many its work
had ended. Dagster's run monitoring is on, with its defaults.
"""

import argparse
import fcntl
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from planasonix_orchestrator.runtime.leftovers import POSTGRES_FOLDER, guarded
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres
from tests.chaos.pipelines import PIPELINES, SETUP, TABLE, write_pipelines
from tests.chaos.stock import Stock, stock
from tests.run_host.bench import CONNECTIONS, Bench
from tests.run_host.hosted import ENDED, PLUGIN, Hosted, hosted, pipeline, wait_until
from tests.run_host.kinds import KINDS, Kind

_SECONDS = 60.0  # for which each cancellation is watched
_KINDS = tuple(kind for kind in KINDS if kind.name in {"query", "sleep", "hold", "child", "copy", "finish"})
_SECONDS_TO_START = 240.0
_AT_ONCE = 3  # a small machine starts no more of Dagster's processes in time
_CHAOTIC = tuple(each for each in PIPELINES if each.name in {"write", "move", "slow_source", "sleep", "loop"})
_RUNS = 12


@dataclass(slots=True)
class Cell:
    """What has become of a cancellation: seconds until the run read canceled, and until its work had ended."""

    status: str = ""
    canceled: float | None = None
    stopped: float | None = None

    def __str__(self) -> str:
        told = f"{self.canceled:.1f}" if self.canceled is not None else self.status
        if self.stopped is None:
            return f"**{told}, works on**"
        late = self.canceled is not None and self.stopped > self.canceled + 1
        text = f"{told}, stops after {self.stopped:.1f}" if late else told
        return text if self.canceled is not None and not late else f"**{text}**"


def is_at_work(bench: Bench, kind: Kind, run_id: str) -> bool:
    """Whether the work of a run goes on, as the system sees it."""
    if kind.file is not None:
        return any(_is_locked(part) for part in (bench.host.settings.pipelines / "out").glob(kind.file))
    if kind.query is not None:
        return bench.is_at_work(kind, run_id)
    if "began" not in bench.host.notes(run_id):
        return False
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(bench.host.pid_of(run_id)).status() != psutil.STATUS_ZOMBIE
    return False


def _is_locked(part: Path) -> bool:
    try:
        descriptor = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def watch(bench: Bench, runs: Mapping[Kind, str], *, asked: float) -> dict[str, Cell]:
    """Watch what becomes of cancellations."""
    cells = {kind.name: Cell() for kind in runs}
    watched_since = time.monotonic()  # Dagster may take a minute to answer a wish
    while time.monotonic() - watched_since < _SECONDS:
        for kind, run_id in runs.items():
            cell = cells[kind.name]
            cell.status = bench.host.status(run_id)
            if cell.canceled is None and cell.status == "CANCELED":
                cell.canceled = time.monotonic() - asked
            if is_at_work(bench, kind, run_id):
                cell.stopped = None
            elif cell.stopped is None:
                cell.stopped = time.monotonic() - asked
        if all(cell.status in ENDED and cell.stopped is not None for cell in cells.values()):
            break
        time.sleep(0.05)
    return cells


def _started(bench: Bench, kinds: Sequence[Kind]) -> dict[Kind, str]:
    runs = {kind: bench.host.submit(kind.document()) for kind in kinds}

    def undecided() -> list[str]:
        """The runs that neither work nor have ended: a busy code server launches some too late for Dagster."""
        return [
            run_id
            for kind, run_id in runs.items()
            if not is_at_work(bench, kind, run_id) and bench.host.status(run_id) not in ENDED
        ]

    wait_until(lambda: not undecided(), seconds=_SECONDS_TO_START, what=lambda: bench.host.story(undecided()[0]))
    return runs


def _cancel(bench: Bench, runs: Mapping[Kind, str]) -> float:
    asked = time.monotonic()
    for run_id in runs.values():
        bench.host.cancel(run_id)
    return asked


def while_starting(bench: Bench, kinds: Sequence[Kind]) -> dict[str, Cell]:
    """Cancel what is handed to a process that has not begun."""
    runs, asked = {}, time.monotonic()
    for kind in kinds:
        runs[kind] = bench.host.submit(kind.document(build_seconds=1.0))
        bench.host.until(runs[kind], "STARTING", "STARTED")
        bench.host.cancel(runs[kind])
    return watch(bench, runs, asked=asked)


def while_started(bench: Bench, kinds: Sequence[Kind]) -> dict[str, Cell]:
    """Cancel in the middle of the work."""
    runs = _started(bench, kinds)
    return watch(bench, runs, asked=_cancel(bench, runs))


def after_the_workers_death(bench: Bench, kinds: Sequence[Kind]) -> dict[str, Cell]:
    """Cancel at the moment at which the run's process is killed."""
    runs = _started(bench, kinds)
    workers = bench.host.workers() if isinstance(bench.host, Stock) else _leaders(bench, runs)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            if not isinstance(bench.host, Stock) or worker.ppid() not in {each.pid for each in workers}:
                worker.kill()
    return watch(bench, runs, asked=_cancel(bench, runs))


def _leaders(bench: Bench, runs: Mapping[Kind, str]) -> list[psutil.Process]:
    pids = [bench.pid(run_id) for run_id in runs.values()]
    return [psutil.Process(pid) for pid in pids if pid is not None]


def while_its_launcher_is_down(bench: Bench, kinds: Sequence[Kind]) -> dict[str, Cell]:
    """Cancel while what has launched the runs is killed; it is started again at once."""
    runs = _started(bench, kinds)
    host = bench.host
    if isinstance(host, Stock):
        host.kill_part("code server")
        asked = _cancel(bench, runs)
        host.start_part("code server")
    else:
        host.kill()
        asked = _cancel(bench, runs)
        host.start()
    return watch(bench, runs, asked=asked)


MOMENTS: Mapping[str, Callable[[Bench, Sequence[Kind]], dict[str, Cell]]] = {
    "starting": while_starting,
    "started": while_started,
    "worker killed": after_the_workers_death,
    "launcher killed": while_its_launcher_is_down,
}


@contextmanager
def _database() -> Iterator[tuple[Path, str]]:
    with (
        tempfile.TemporaryDirectory(prefix="planasonix-compare-", ignore_cleanup_errors=True) as name,
        guarded(Path(name)),
    ):
        folder = Path(name)
        server = EmbeddedPostgres(folder / POSTGRES_FOLDER)
        server.start(log=folder / "postgres.log")
        try:
            server.create_database("planasonix")
            yield folder, server.url("planasonix")
        finally:
            server.stop()


def cancellations(moment: str, *, of_stock: bool) -> dict[str, Cell]:
    """Return the cells of a moment by kind of work; each moment has a database of its own."""
    with _database() as (folder, url):
        (folder / "pipelines").mkdir()
        (folder / "pipelines" / "connections.yaml").write_text(CONNECTIONS)
        if not of_stock:
            with hosted(folder, postgres_url=url, max_concurrent_runs=25) as host:
                host.until(host.submit(pipeline("first")))
                return _measured(host, moment)
        documents = [kind.document(build_seconds=float(moment == "starting")) for kind in _KINDS]
        with stock(folder, postgres_url=url, documents=documents) as host:
            return _measured(host, moment)


def _measured(host: Hosted, moment: str) -> dict[str, Cell]:
    bench = Bench(host, 10.0)
    bench.prepare()
    cells: dict[str, Cell] = {}
    for first in range(0, len(_KINDS), _AT_ONCE):
        cells |= MOMENTS[moment](bench, _KINDS[first : first + _AT_ONCE])
    return cells


def chaos_of_stock(seed: int) -> dict[str, object]:
    """Kill parts of the stock stack, cancel some runs, and return what is wrong two minutes after the last kill."""
    chance = random.Random(seed)  # noqa: S311
    with _database() as (folder, url):
        write_pipelines(folder / "pipelines")
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            for statement in SETUP:
                connection.cursor().execute(statement)
        with stock(folder, postgres_url=url, documents=[each.document for each in _CHAOTIC]) as host:
            tags = {}
            for number in range(_RUNS):
                each = chance.choice(_CHAOTIC)
                tags[host.submit(each.document, tag=f"c{number}")] = (f"c{number}", each)
            wanted = chance.sample(list(tags), _RUNS // 3)
            for fault in ["worker", "code server", "worker", "daemon", "worker", "code server", "worker"]:
                with suppress(AssertionError):  # after a kill, stock may launch nothing for a long time
                    wait_until(lambda: bool(host.workers()), seconds=30, what=lambda: "no worker")
                time.sleep(chance.uniform(1, 4))
                workers = host.workers()
                if fault == "worker" and workers:
                    chance.choice(workers).kill()
                elif fault != "worker":
                    host.kill_part(fault)
                    time.sleep(0.5)
                    host.start_part(fault)
                if wanted:
                    host.cancel(wanted.pop())
            return _wrongs(host, tags, url=url)


def _wrongs(host: Stock, tags: Mapping[str, tuple[str, object]], *, url: str) -> dict[str, object]:
    ended_by = time.monotonic() + 60
    while time.monotonic() < ended_by and any(host.status(run_id) not in ENDED for run_id in tags):
        time.sleep(0.5)
    after_a_minute = {run_id: host.status(run_id) for run_id in tags}
    time.sleep(60)
    statuses = {run_id: host.status(run_id) for run_id in tags}
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT run, count(*) FROM {TABLE} GROUP BY run")
        rows = dict(cursor.fetchall())
    return {
        "runs": dict(Counter(statuses.values())),
        "not ended 60 s after the last kill": sum(status not in ENDED for status in after_a_minute.values()),
        "not ended 120 s after the last kill": sum(status not in ENDED for status in statuses.values()),
        "answers to cancellations": dict(Counter(host.answers.values())),
        "asked to be canceled, but ended otherwise or not at all": sum(
            statuses[run_id] != "CANCELED" for run_id in host.answers
        ),
        "end changed afterwards": sum(
            after_a_minute[run_id] in ENDED and statuses[run_id] != after_a_minute[run_id] for run_id in tags
        ),
        "processes still at work": len(host.workers()),
        "succeeded without rows, or ended otherwise with some": sum(
            (statuses[run_id] == "SUCCESS") != (rows.get(tag, 0) == getattr(each, "table_rows", 0))
            for run_id, (tag, each) in tags.items()
            if getattr(each, "table_rows", 0)
        ),
    }


def line(moment: str, cells: Mapping[str, Cell]) -> str:
    """Return a row of the table, in Markdown."""
    return f"| {moment} | {' | '.join(str(cells[kind.name]) for kind in _KINDS)} |"


def main() -> None:
    """Measure and print."""
    sys.path.insert(0, str(PLUGIN))  # the node type of the plugin, for the jobs that are built here
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.compare")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--moments", nargs="*", default=list(MOMENTS))
    parser.add_argument("--side", choices=["stock", "ours", "both"], default="both")
    arguments = parser.parse_args()
    for side in ("stock", "ours"):
        if arguments.side in (side, "both"):
            kinds = " | ".join(kind.name for kind in _KINDS)
            _print(f"\n{side}, seconds\n\n| Canceled while | {kinds} |\n{'|---' * (len(_KINDS) + 1)}|")
            for moment in arguments.moments:
                _print(line(moment, cancellations(moment, of_stock=side == "stock")))
    if arguments.side != "ours":
        for name, value in chaos_of_stock(arguments.seed).items():
            _print(f"{name}: {value}")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
