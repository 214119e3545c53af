"""The moments of the cancel matrix: what a run is at when its cancellation is asked for."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.run_host.bench import Bench, Runs
from tests.run_host.hosted import wait_until
from tests.run_host.kinds import Kind

_SECONDS_TO_WORK = 90.0
_QUICK_NODES = 15


def while_not_started(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel what was created, and not queued yet."""
    runs = {kind: bench.host.create(kind.document()).run_id for kind in kinds}
    bench.cancel(runs)
    return runs


def while_queued(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel what waits because its pipeline is full."""
    blockers = bench.submit(kinds)
    bench.until_at_work(blockers)
    limits = [_limit(bench.host.settings.pipelines, kind) for kind in kinds]
    try:
        time.sleep(1.1)  # after which the host looks at the limits again
        runs = bench.submit(kinds)
        assert {bench.host.status(run_id) for run_id in runs.values()} == {"QUEUED"}
        bench.cancel(runs)
        bench.until_canceled(runs)
    finally:
        for path in limits:
            path.unlink()
    bench.cancel(blockers)
    bench.until_canceled(blockers)
    return runs


def _limit(folder: Path, kind: Kind) -> Path:
    path = folder / f"{kind.name}.yaml"
    path.write_text(
        f"{{id: pl_{kind.name}, name: {kind.name}, maxConcurrentRuns: 1, nodes: [{{id: n, type: source.work}}]}}"
    )
    return path


def while_starting(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel while the worker builds the job."""
    runs: dict[Kind, str] = {}
    for kind in kinds:
        run_id = bench.host.submit(kind.document(build_seconds=1.0))
        assert bench.host.until(run_id, "STARTING", "STARTED") == "STARTING"
        bench.cancel({kind: run_id})
        runs[kind] = run_id
    return runs


def while_worker_hangs_starting(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel what was given to workers that do not react, and never begin."""
    with stopped(_zygote(bench)) as zygotes:
        workers = [worker for zygote in zygotes for worker in zygote.children()]
        with stopped(workers):
            runs = bench.submit(kinds[: len(workers)])
            for run_id in runs.values():
                bench.host.until(run_id, "STARTING")
            bench.cancel(runs)
            bench.until_canceled(runs)
    return runs


def _zygote(bench: Bench) -> list[psutil.Process]:
    assert bench.host.host is not None
    wait_until(lambda: len(_children(bench)) == 1, seconds=30, what=lambda: _children(bench))
    zygotes = _children(bench)
    wait_until(lambda: len(zygotes[0].children()) >= 2, seconds=30, what=zygotes[0].children)
    return zygotes


def _children(bench: Bench) -> list[psutil.Process]:
    assert bench.host.host is not None
    return psutil.Process(bench.host.host.pid).children()


@contextmanager
def stopped(processes: Sequence[psutil.Process]) -> Iterator[Sequence[psutil.Process]]:
    """Stop processes as if the machine had no time for them, while the block runs."""
    for process in processes:
        process.suspend()
    try:
        yield processes
    finally:
        for process in processes:
            if process.is_running():
                process.resume()


def while_started(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel in the middle of the work."""
    runs = bench.submit(kinds)
    bench.until_at_work(runs)
    bench.cancel(runs)
    return runs


def while_canceling(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel what is being canceled."""
    runs = while_started(bench, kinds)
    for run_id in runs.values():
        if bench.host.until(run_id, "CANCELING", "CANCELED") == "CANCELING":
            bench.host.cancel(run_id)
    return runs


def between_nodes(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel while one node after the other is quickly done."""
    runs = bench.submit(kinds, before=_QUICK_NODES)
    for run_id in runs.values():
        story = lambda run_id=run_id: bench.host.story(run_id)  # noqa: E731
        wait_until(lambda: "ended" in bench.host.notes(run_id, "quick.txt"), seconds=_SECONDS_TO_WORK, what=story)  # noqa: B023
        bench.cancel({kind: each for kind, each in runs.items() if each == run_id})
    return runs


def while_waiting_to_try_again(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel between two attempts of a node that fails."""
    bench.open_gate(is_open=False)
    try:
        runs = bench.submit(kinds, retries=8)
        bench.until_tried_again(runs)
        bench.cancel(runs)
        bench.until_canceled(runs)
    finally:
        bench.open_gate(is_open=True)
    return runs


def while_trying_again(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel in the second attempt of a node."""
    bench.open_gate(is_open=False)
    try:
        runs = bench.submit(kinds, retries=8)
        bench.until_tried_again(runs)
    finally:
        bench.open_gate(is_open=True)
    bench.until_at_work(runs)
    bench.cancel(runs)
    return runs


def after_the_workers_death(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel before the host has noticed that the worker is gone."""
    runs = bench.submit(kinds)
    bench.until_at_work(runs)
    assert bench.host.host is not None
    with stopped([psutil.Process(bench.host.host.pid)]):
        for run_id in runs.values():
            pid = bench.pid(run_id)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        bench.cancel(runs)
    return runs


def while_the_host_is_down(bench: Bench, kinds: Sequence[Kind]) -> Runs:
    """Cancel while nobody is there who would do it."""
    runs = bench.submit(kinds)
    bench.until_at_work(runs)
    bench.host.kill()
    try:
        bench.cancel(runs)
    finally:
        bench.host.start()
    return runs


MOMENTS: Mapping[str, Callable[[Bench, Sequence[Kind]], Runs]] = {
    "not started": while_not_started,
    "queued": while_queued,
    "starting": while_starting,
    "starting, worker hangs": while_worker_hangs_starting,
    "started": while_started,
    "canceling": while_canceling,
    "between nodes": between_nodes,
    "waiting to try again": while_waiting_to_try_again,
    "trying again": while_trying_again,
    "worker dead": after_the_workers_death,
    "host down": while_the_host_is_down,
}
