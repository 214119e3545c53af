"""What a node's work costs: CPU of all threads, and the peak of memory while it worked."""

import os
import threading
import time
from pathlib import Path

from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.dagster_defs.usage import UsageMeter, peak_so_far
from planasonix_orchestrator.engine.session import Session
from tests.dagster_defs.pipelines import document, execute, job_of, metadata_of, node

MEGABYTE = 1_000_000


def burn(seconds: float) -> None:
    """Use the CPU of this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_cpu_of_all_threads_counts() -> None:
    """Seconds of CPU, of other threads too; waiting costs nothing."""
    with UsageMeter().measured() as used:
        threads = [threading.Thread(target=burn, args=(0.2,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        threading.Event().wait(0.5)
        assert 0.35 < used().cpu_seconds < 1.0


def test_duckdbs_threads_count(tmp_path: Path) -> None:
    """CPU that DuckDB uses in its own threads is that of the run's process."""
    with (
        Session(spill=tmp_path, threads=2) as session,
        session.cursor() as cursor,
        UsageMeter().measured() as used,
    ):
        before = time.thread_time()
        cursor.execute("SELECT count(*) FROM range(60000000) AS a(n) WHERE hash(n) % 7 = 1").fetchall()
        of_this_thread = time.thread_time() - before
        assert used().cpu_seconds > of_this_thread


def test_no_cpu_counts_twice() -> None:
    """Of nodes that work at the same time, each has what its thread used, and together no more than the process."""
    meter, began = UsageMeter(), time.process_time()
    costs: dict[float, float] = {}

    def work(seconds: float) -> None:
        with meter.measured() as used:
            burn(seconds)
            all_done.wait()
            costs[seconds] = used().cpu_seconds

    all_done = threading.Barrier(3)
    threads = [threading.Thread(target=work, args=(seconds,)) for seconds in (0.0, 0.1, 0.4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.4 < sum(costs.values()) <= time.process_time() - began
    # What the process uses besides is divided, too, so that none has just what its thread has used.
    assert costs[0.0] < costs[0.1] < costs[0.4]
    assert 0.25 < costs[0.4] < 0.6


def test_the_peak_is_that_of_the_time_measured() -> None:
    """Memory that is gone again counts, and only while it was there; by a kernel that can't tell, the peak so far."""
    meter = UsageMeter()
    with meter.measured() as used:
        before = used().peak_memory_bytes
        held = b"x" * (200 * MEGABYTE)
        size = len(held)
        del held
        with meter.measured() as used_later:  # does not start the first one's peak again
            later = used_later().peak_memory_bytes
        after = used().peak_memory_bytes
    if not os.access("/proc/self/clear_refs", os.W_OK):
        assert after == peak_so_far() >= size
        return
    assert after - before > 0.9 * size
    assert later - before < 0.1 * size


def test_the_peak_so_far_is_known_everywhere() -> None:
    """Where the peak can't be started again, it is that of the whole process, in bytes."""
    held = b"x" * (20 * MEGABYTE)
    assert len(held) < peak_so_far() < 100_000 * MEGABYTE


def test_every_node_reports_its_cost(tmp_path: Path) -> None:
    """CPU seconds and peak memory stand on each op's output, destinations' too."""
    nodes = [
        node("a", "source.numbers"),
        node("slow", "transform.slow", seconds=0.5),
        node("out", "destination.collect", path="out.txt"),
    ]
    result = execute(job_of(document(nodes, ("a", "slow"), ("slow", "out")), folder=tmp_path))
    reported = {name: metadata_of(result, name) for name in ("a", "slow", "out")}
    cpu = {name: figures[metadata.CPU_SECONDS] for name, figures in reported.items()}
    assert all(isinstance(seconds, float) and seconds > 0 for seconds in cpu.values())
    assert cpu["slow"] == max(cpu.values())
    assert all(figures[metadata.PEAK_MEMORY_BYTES] > 10 * MEGABYTE for figures in reported.values())
