"""A run's own process: waits for its run, builds the job from the document the run was made of, and executes it."""

import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRun

from planasonix_orchestrator.contract.metadata import DOCUMENT
from planasonix_orchestrator.dagster_defs.repository import build_job_of_document
from planasonix_orchestrator.engine.replacement import journal_parts
from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.run_host import channel
from planasonix_orchestrator.run_host.dagster_api import (
    InMemoryJob,
    JobFailureData,
    RunFailureReason,
    capture_interrupts,
    execute_run_iterator,
    serializable_error_info_from_exc_info,
    setup_interrupt_handlers,
)
from planasonix_orchestrator.run_host.run_folders import RunFolder
from planasonix_orchestrator.run_host.storage import (
    RunNotWantedError,
    open_worker_instance,
    prepare_for_fork,
    warm_up,
)
from planasonix_orchestrator.settings import DAGSTER_HOME_VARIABLE, Settings, load_settings


class MissingDocumentError(PlanasonixError):
    """A run whose job does not carry the pipeline document that it was made of."""

    def __init__(self, job_name: str) -> None:
        super().__init__(f"the job {job_name!r} was not compiled from a pipeline document")


@dataclass(frozen=True, slots=True)
class Template:
    """What all workers share, made once in the zygote: Dagster's instance, with no connection open."""

    instance: DagsterInstance
    settings: Settings

    @classmethod
    def load(cls) -> "Template":
        """Import everything, and open the instance that DAGSTER_HOME describes."""
        settings = load_settings()
        instance = open_worker_instance(os.environ[DAGSTER_HOME_VARIABLE])
        rehearse(settings)
        prepare_for_fork(instance)
        return cls(instance, settings)

    def work(self, orders: socket.socket) -> int:
        """Wait for a run, execute it and return the exit code; without one, when the host is gone."""
        warm_up(self.instance)
        order, _ = channel.receive(orders)
        if order is None:
            return 0
        setup_interrupt_handlers()
        folder = RunFolder(Path(order["folder"]))
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder.temporary)  # the one for children, the other for itself
        journal_parts(folder.parts)
        try:
            with capture_interrupts():
                execute(order["runId"], instance=self.instance, settings=self.settings)
        finally:
            self.instance.dispose()
        return 0


def execute(run_id: str, *, instance: DagsterInstance, settings: Settings) -> None:
    """Execute a run to its end, whatever that is; nothing if somebody has canceled it, or it runs already."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return
    try:
        job = build_job_of_document(document_of(run, instance=instance), settings=settings)
    except PlanasonixError:
        _report_unbuildable(run, instance=instance)
        return
    try:
        for _ in execute_run_iterator(InMemoryJob(job), run, instance):
            pass
    except RunNotWantedError:
        return


def document_of(run: DagsterRun, *, instance: DagsterInstance) -> Mapping[str, Any]:
    """Return the document that a run was queued with, which its pipeline's file may have left behind since."""
    snapshot = instance.get_job_snapshot(run.job_snapshot_id) if run.job_snapshot_id else None
    document = getattr(snapshot.metadata.get(DOCUMENT), "data", None) if snapshot else None
    if not isinstance(document, Mapping):
        raise MissingDocumentError(run.job_name)
    return document


def _report_unbuildable(run: DagsterRun, *, instance: DagsterInstance) -> None:
    told = serializable_error_info_from_exc_info(sys.exc_info())
    data = JobFailureData(error=told, failure_reason=RunFailureReason.JOB_INITIALIZATION_FAILURE)
    instance.report_run_failed(run, "The pipeline can not be run as it was queued.", data)


def rehearse(settings: Settings) -> None:
    """Execute a small pipeline that leaves nothing behind: so all is imported and built that a first run needs."""
    with tempfile.TemporaryDirectory() as folder, DagsterInstance.ephemeral() as instance:
        rows = Path(folder, "rows.csv")
        rows.write_text("n\n1\n", encoding="utf-8")
        document = {
            "id": "pl_rehearsal",
            "name": "rehearsal",
            "nodes": [
                {"id": "n_rows", "type": "source.csv", "config": {"path": str(rows)}},
                {"id": "n_some", "type": "transform.filter", "config": {"expression": "n > 0"}},
            ],
            "edges": [{"source": "n_rows", "target": "n_some"}],
        }
        elsewhere = replace(settings, pipelines=Path(folder), state=Path(folder))
        job = build_job_of_document(document, settings=elsewhere)
        run = instance.create_run_for_job(job, run_config=job.run_config)
        for _ in execute_run_iterator(InMemoryJob(job), run, instance):
            pass
