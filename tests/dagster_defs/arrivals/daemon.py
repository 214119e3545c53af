"""A process that evaluates sensors as Dagster's daemon does, until somebody kills it."""

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from dagster import DagsterInstance
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor

from planasonix_orchestrator.runtime.sensor_runs import in_bulk

_DEFINITIONS = "planasonix_orchestrator.definitions"


class Daemons:
    """Starts daemons over one Dagster home, one after the other. Each has the real definitions of the pipelines."""

    def __init__(self, home: Path, *, pipelines: Path) -> None:
        self._home = home
        self._pipelines = pipelines
        # Each is forked from a process that has imported everything, which takes longer than all that is tested here.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, _DEFINITIONS, "dagster_postgres"])

    @contextmanager
    def running(self) -> Iterator[ForkServerProcess]:
        """A daemon that has begun, and is killed in the end (SIGKILL)."""
        begun = self._context.Event()
        process = self._context.Process(target=_evaluate, args=(self._home, self._pipelines, begun), daemon=True)
        process.start()
        try:
            assert begun.wait(60), "the daemon did not begin"
            yield process
        finally:
            process.kill()
            process.join()


def _evaluate(home: Path, pipelines: Path, begun: "multiprocessing.synchronize.Event") -> None:
    os.environ["PLANASONIX_PIPELINES"] = str(pipelines)
    logger = logging.getLogger("daemon")
    origin = InProcessCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(module_name=_DEFINITIONS), location_name="planasonix"
    )
    with (
        DagsterInstance.from_config(str(home)) as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget([origin])) as workspace,
    ):
        instance.optimize_for_webserver(60_000, pool_recycle=3600, max_overflow=20)  # as ours does, and this, too
        sensor._submit_run_requests = in_bulk(sensor._submit_run_requests)
        begun.set()
        while True:
            list(sensor.execute_sensor_iteration(workspace, logger, None, None))
            time.sleep(0.02)
