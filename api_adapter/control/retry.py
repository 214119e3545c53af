"""Retries runs: makes a new run of what the parent has left undone, or of all that it was to do."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from dagster import DagsterInstance, DagsterRun

from api_adapter.control.blueprints import Blueprint, Blueprints
from api_adapter.control.catalog import Catalog
from api_adapter.control.code_location import DagsterConnection, Loaded, dagster_errors
from api_adapter.control.dagster_api import PARENT_RUN_ID_TAG, PRIORITY_TAG, ROOT_RUN_ID_TAG
from api_adapter.control.database import Database
from api_adapter.control.orders import RetryOrder, StartedRun
from api_adapter.control.queueing import Queue, RunExistsError
from api_adapter.control.selection import in_order, unchanged_nodes
from api_adapter.control.start import check_config, put_runs
from api_adapter.control.surroundings import fill_config, find_environment
from api_adapter.errors import (
    EnvironmentBrokenError,
    InvalidRequestError,
    RetryUnderWayError,
    RunNotFoundError,
    RunNotRetryableError,
)
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.cancellation import FINISHED
from planasonix_orchestrator.contract.ids import api_run_id
from planasonix_orchestrator.contract.metadata import DOCUMENT, VARIABLES_RESOURCE
from planasonix_orchestrator.contract.names import decode_name
from planasonix_orchestrator.contract.pipelines import PublishedPipeline
from planasonix_orchestrator.contract.resolution import environment_named
from planasonix_orchestrator.contract.slices import SLICE_TAGS
from planasonix_orchestrator.contract.starting import run_id_of_retry, run_id_of_retry_key

# What a retry has in common with the run that it retries: the slice that both are for, and who waits for whom.
_OF_PARENT = (
    tag_names.ENVIRONMENT_ID,
    PRIORITY_TAG,
    tag_names.SCHEDULE_ID,
    *SLICE_TAGS.values(),
    tag_names.BACKFILL_ID,
    tag_names.BACKFILL,
    tag_names.LIMITED_BY,
)


class Retrier:
    """Retries runs: at any moment there is one retry of a run at most, however many ask for it."""

    def __init__(
        self,
        connection: DagsterConnection,
        *,
        database: Database,
        blueprints: Blueprints,
        queue: Queue,
        catalog_of: Callable[[Loaded], Catalog],
    ) -> None:
        self._connection = connection
        self._database = database
        self._blueprints = blueprints
        self._queue = queue
        self._catalog_of = catalog_of

    def retry(self, order: RetryOrder, *, at: datetime) -> StartedRun:
        """Queue a retry; who asks for the same while it has not ended gets the same run.

        `RunNotRetryableError` says why there can be none, `RetryUnderWayError` which other one there is.
        """
        with self._database.alone_with(f"retry of {order.parent_id}", wait=True):
            return self._known(order) or self._create(order, at=at)

    def _known(self, order: RetryOrder) -> StartedRun | None:
        """Return the retry that the request means, if there is one; `RetryUnderWayError` if there is another one."""
        if order.key is not None:
            run_id = run_id_of_retry_key(order.parent_id, order.key)
            found = self._queue.replay(run_id, request_hash=order.request_hash)
            if found is not None:
                return found
        for run_id, status in self._retries(order.parent_id):
            known = None if status in FINISHED else self._queue.find(run_id)
            if known is None:
                continue
            if order.key is None and known.request_hash == order.request_hash:
                return self._queue.resume(known)
            raise RetryUnderWayError(api_run_id(order.parent_id), retry_id=api_run_id(run_id))
        return None

    def _create(self, order: RetryOrder, *, at: datetime) -> StartedRun:
        run_id = self._new_id(order)
        with suppress(RunExistsError):  # which we have created, and the answer was lost
            put_runs(lambda: [self._make(run_id, order)], blueprints=self._blueprints, queue=self._queue, at=at)
        return StartedRun(dagster_id=run_id, queued_at=at)

    def _new_id(self, order: RetryOrder) -> str:
        if order.key is not None:
            return run_id_of_retry_key(order.parent_id, order.key)
        number = len(self._retries(order.parent_id))
        while self._queue.find(run_id_of_retry(order.parent_id, number)):  # an earlier one was deleted
            number += 1
        return run_id_of_retry(order.parent_id, number)

    def _retries(self, parent_id: str) -> Sequence[tuple[str, str]]:
        """Return the ids and statuses of the runs that retry a run, those of Dagster's UI too."""
        parameters = {"key": PARENT_RUN_ID_TAG, "parent": parent_id}
        return self._database.transact(
            lambda connection: [
                (row.run_id, row.status) for row in connection.exec_driver_sql(_RETRIES, parameters).all()
            ]
        )

    def _make(self, run_id: str, order: RetryOrder) -> DagsterRun:
        loaded = self._connection.loaded()
        catalog = self._catalog_of(loaded)
        pipeline = catalog.get(order.pipeline_id)
        with dagster_errors():
            instance = self._connection.instance()
            parent = instance.get_run_by_id(order.parent_id)
            if parent is None:
                raise RunNotFoundError(api_run_id(order.parent_id))
            whole = self._blueprints.get(instance, loaded=loaded, pipeline=pipeline)
            before = None
            if whole.run.job_snapshot_id != parent.job_snapshot_id:
                before = _document_of(parent, instance=instance) or pipeline["document"]
            nodes = _select(parent, order, pipeline=pipeline, before=before)
            blueprint = self._blueprints.get(instance, loaded=loaded, pipeline=pipeline, nodes=nodes)
        config = parent.run_config if before is None else _config(parent, blueprint, catalog=catalog, pipeline=pipeline)
        check_config(blueprint, config=config)
        root_id = parent.root_run_id or parent.run_id
        tags = {
            tag_names.PIPELINE_ID: pipeline["id"],
            tag_names.PIPELINE_VERSION: pipeline["version"],
            tag_names.TAGS_OF: run_id,
            tag_names.TRIGGER: "retry",
            tag_names.USER: order.user,
            tag_names.REQUEST_HASH: order.request_hash,
            PARENT_RUN_ID_TAG: parent.run_id,
            ROOT_RUN_ID_TAG: root_id,
        }
        for name in _OF_PARENT:
            if name in parent.tags:
                tags[name] = parent.tags[name]
        if order.from_failure and nodes is not None:
            tags[tag_names.REUSED_FROM] = parent.run_id
        return blueprint.run._replace(
            run_id=run_id,
            run_config=config,
            tags={**blueprint.run.tags, **tags},
            parent_run_id=parent.run_id,
            root_run_id=root_id,
        )


def _select(
    parent: DagsterRun, order: RetryOrder, *, pipeline: PublishedPipeline, before: Mapping[str, Any] | None
) -> list[str] | None:
    """Return the nodes that the retry takes, None for all of them.

    Where the pipeline was changed, `before` is its document of then: what was changed since, or is new, runs as well.
    """
    now = [step["nodeId"] for step in pipeline["plan"]]
    taken = _taken(parent, order)
    is_whole = {*taken, *order.succeeded} >= set(order.nodes)
    wanted = [node for node in taken if not (order.from_failure and node in order.succeeded)]
    if before is not None and is_whole and not order.from_failure:
        return None
    gone = [node for node in wanted if node not in now]
    if gone:
        raise RunNotRetryableError.of_nodes(api_run_id(order.parent_id), gone=gone)
    if before is not None and order.from_failure:
        alike = unchanged_nodes(before, pipeline["document"])
        wanted += [node for node in order.succeeded if node not in alike]
        wanted += [node for node in now if is_whole and node not in order.nodes]
    chosen = in_order(pipeline["plan"], nodes=set(wanted))
    if chosen == []:
        raise RunNotRetryableError.of_done(api_run_id(order.parent_id))
    return chosen


def _taken(parent: DagsterRun, order: RetryOrder) -> list[str]:
    """Return the nodes that the parent was to run itself."""
    if parent.step_keys_to_execute is None:
        return list(order.nodes)
    keys = {decode_name(key.partition("[")[0]) for key in parent.step_keys_to_execute}
    return [node for node in order.nodes if node in keys]


def _config(
    parent: DagsterRun, blueprint: Blueprint, *, catalog: Catalog, pipeline: PublishedPipeline
) -> Mapping[str, Any]:
    """Return the config of a run of the changed pipeline, with what the parent had been given."""
    declared = pipeline["document"].get("variables") or {}
    resources: Any = parent.run_config.get("resources", {})
    had = resources.get(VARIABLES_RESOURCE, {}).get("config", {})
    try:
        environment = find_environment(catalog, named=environment_named(parent.run_config))
    except InvalidRequestError as error:
        raise EnvironmentBrokenError(error.message) from error
    variables = {name: value for name, value in had.items() if name in declared}
    return fill_config(
        blueprint.config, catalog=catalog, pipeline=pipeline, environment=environment, variables=variables
    )


def _document_of(run: DagsterRun, *, instance: DagsterInstance) -> Mapping[str, Any] | None:
    snapshot = instance.get_job_snapshot(run.job_snapshot_id) if run.job_snapshot_id else None
    document = getattr(snapshot.metadata.get(DOCUMENT), "data", None) if snapshot else None
    return document if isinstance(document, Mapping) else None


_RETRIES = """
SELECT runs.run_id, runs.status FROM run_tags JOIN runs ON runs.run_id = run_tags.run_id
WHERE run_tags.key = %(key)s AND run_tags.value = %(parent)s ORDER BY runs.id"""
