"""Runs that nodes of a run start: created in Dagster's storage, queued there, waited for, and canceled with it."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from logging import Logger, LoggerAdapter
from typing import Final

from dagster import DagsterInstance, DagsterRun, RunRequest
from sqlalchemy import Connection, text

from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.cancellation import FINISHED, store_intent
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.contract.resolution import EnvironmentUnavailableError, environment_named
from planasonix_orchestrator.contract.starting import run_id_of_node
from planasonix_orchestrator.dagster_defs.dagster_internals import DagsterRunAlreadyExists, SubmitRunContext
from planasonix_orchestrator.dagster_defs.pipeline_run import Surroundings
from planasonix_orchestrator.dagster_defs.repository import build_job_of_document
from planasonix_orchestrator.dagster_defs.run_requests import request_run
from planasonix_orchestrator.dagster_defs.variables import RunVariableError
from planasonix_orchestrator.engine.stopping import WorkStoppedError, stoppable
from planasonix_orchestrator.errors import NodeError, NodeInterruptedError, TerminalNodeError
from planasonix_orchestrator.graph.loading import find_files, load_files
from planasonix_orchestrator.nodes.pipelines import ChildRun, EndedAs, PipelineOrder
from planasonix_orchestrator.settings import Settings

_ENDED_AS: Final[Mapping[str, EndedAs]] = {"SUCCESS": "succeeded", "FAILURE": "failed", "CANCELED": "canceled"}
_SHORTEST_PAUSE: Final = 0.1  # seconds between looks at a run that is waited for
_LONGEST_PAUSE: Final = 1.0
# What says where a run belongs in Dagster's pages.
_LABELS: Final = (".dagster/repository", ".dagster/code_location")


class ChildRuns:
    """Starts runs for the nodes of one run, each once: its id follows from the run and the node.

    The pipeline is read from the folder at that moment.
    """

    def __init__(
        self, instance: DagsterInstance, *, parent: DagsterRun, surroundings: Surroundings, settings: Settings
    ) -> None:
        self._instance = instance
        self._parent = parent
        self._surroundings = surroundings
        self._settings = settings

    def run(self, order: PipelineOrder, *, log: "Logger | LoggerAdapter[Logger]") -> ChildRun:
        """See `Pipelines.run`."""
        child = self._start(order, log=log)
        id_ = encode_run_id(child.run_id)
        if not order.wait:
            return ChildRun(id=id_, ended_as=None)
        try:
            status = self._await_end(child.run_id, seconds=order.timeout_seconds)
        except (NodeInterruptedError, WorkStoppedError):
            self._cancel(child.run_id)
            raise
        if status is None:
            self._cancel(child.run_id)
            return ChildRun(id=id_, ended_as=None)
        log.info("Run %s of %s %s", id_, order.pipeline_id, _ENDED_AS[status])
        return ChildRun(id=id_, ended_as=_ENDED_AS[status])

    def _start(self, order: PipelineOrder, *, log: "Logger | LoggerAdapter[Logger]") -> DagsterRun:
        for number in count():
            run_id = run_id_of_node(self._parent.run_id, order.node_id, number)
            found = self._instance.get_run_by_id(run_id)
            if found is None:
                child = self._create(run_id, order)
                self._submit(child)
                log.info("Started run %s of %s", encode_run_id(run_id), order.pipeline_id)
                return child
            if not (order.again and found.status.value in {"FAILURE", "CANCELED"}):
                self._submit(found)
                log.info("Run %s of %s was started before", encode_run_id(run_id), order.pipeline_id)
                return found
        raise AssertionError("unreachable")

    def _create(self, run_id: str, order: PipelineOrder) -> DagsterRun:
        origin = self._parent.remote_job_origin
        if origin is None:
            raise TerminalNodeError("this run can't start others: it does not come from a code location")
        plan = self._find(order.pipeline_id)
        request = self._request(plan, order)
        job = build_job_of_document(plan.document, settings=self._settings, file=None)
        try:
            return self._instance.create_run_for_job(
                job,
                run_id=run_id,
                run_config=request.run_config,
                tags={**job.tags, **request.tags, tags.TAGS_OF: run_id},
                remote_job_origin=origin._replace(job_name=job.name),
            )
        except DagsterRunAlreadyExists:  # another attempt, at the same moment
            found = self._instance.get_run_by_id(run_id)
            if found is None:
                raise
            return found

    def _find(self, pipeline_id: str) -> PipelinePlan:
        base = self._surroundings.base
        # Of the files that hold its id: a folder may have a thousand others.
        files = [file for file in find_files(base) if pipeline_id.encode() in file.read_bytes()]
        compiled = compile_folder(load_files(files, beside=base), catalog=self._surroundings.catalog)
        for plan in compiled.plans:
            if plan.pipeline_id == pipeline_id:
                return plan
        raise NodeError(
            f"pipeline {pipeline_id!r} can't be started: it is not there, or has problems",
            hint="planasonix validate tells them",
        )

    def _request(self, plan: PipelinePlan, order: PipelineOrder) -> RunRequest:
        parent_id = self._parent.tags.get(tags.PIPELINE_ID, self._parent.job_name)
        told = {
            tags.TRIGGER: "sensor",
            tags.UPSTREAM_RUN: self._parent.run_id,
            tags.EVENT_SUMMARY: f"node {order.node_id} of {parent_id}"[:200],
            **({tags.WAITED_BY: self._parent.run_id} if order.wait else {}),
            **{key: self._parent.tags[key] for key in _LABELS if key in self._parent.tags},
        }
        try:
            return request_run(
                plan,
                environments=self._surroundings.environments,
                variables=order.variables,
                environment_id=order.environment_id or environment_named(self._parent.run_config),
                run_key=order.node_id,
                tags=told,
            )
        except (RunVariableError, EnvironmentUnavailableError) as error:
            raise TerminalNodeError(f"pipeline {plan.pipeline_id!r} can't be started: {error}") from error

    def _submit(self, run: DagsterRun) -> None:
        """Put a run into the queue that was only created; nothing if it has been there."""
        if run.status.value == "NOT_STARTED":
            # Queues take the workspace from nobody: they only write. One that launches at once would need it.
            self._instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]

    def _await_end(self, run_id: str, *, seconds: float | None) -> str | None:
        """Return Dagster's status of a run that has ended; None if it has not within so many seconds."""
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        stopped = threading.Event()
        pause = _SHORTEST_PAUSE
        with stoppable(stopped.set):
            while True:
                status = self._status(run_id)
                if status in FINISHED:
                    return status
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                if stopped.wait(min(pause, left)):
                    raise NodeInterruptedError
                pause = min(1.5 * pause, _LONGEST_PAUSE)

    def _status(self, run_id: str) -> str:
        with self._instance.run_storage.connect() as connection:  # type: ignore[attr-defined]  # of the storages that are SQL
            status = connection.execute(_STATUS, {"run_id": run_id}).scalar()
        if status is None:
            raise NodeError(f"run {encode_run_id(run_id)} was deleted while this node waited for it")
        return str(status)

    def _cancel(self, run_id: str) -> None:
        parent = encode_run_id(self._parent.run_id)
        with self._transaction() as connection:
            store_intent(connection, run_id, by=f"run {parent}", at=datetime.now(UTC), source="system")

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
            transaction = connection.execution_options(isolation_level="READ COMMITTED")
            with transaction.begin():
                yield transaction


_STATUS = text("SELECT status FROM runs WHERE run_id = :run_id")
