"""Starts runs: makes them from what the code location serves, and puts them into Dagster's queue."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from dagster import DagsterRun

from api_adapter.control.blueprints import Blueprint, Blueprints
from api_adapter.control.catalog import Catalog
from api_adapter.control.code_location import DagsterConnection, Loaded, dagster_errors
from api_adapter.control.dagster_api import PRIORITY_TAG, validate_config_from_snap
from api_adapter.control.orders import RunOrder, StartedRun
from api_adapter.control.queueing import Queue, RunExistsError, SnapshotsLostError
from api_adapter.control.selection import select_nodes
from api_adapter.control.surroundings import fill_config, find_environment
from api_adapter.errors import Detail, InvalidRequestError
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.starting import run_id_of_key


class Starter:
    """Starts runs, each once, however often and by how many at a time it is asked for."""

    def __init__(
        self,
        connection: DagsterConnection,
        *,
        blueprints: Blueprints,
        queue: Queue,
        catalog_of: Callable[[Loaded], Catalog],
    ) -> None:
        self._connection = connection
        self._blueprints = blueprints
        self._queue = queue
        self._catalog_of = catalog_of

    def start(self, order: RunOrder, *, at: datetime) -> StartedRun:
        """Queue the run that is asked for; nothing is created unless all of it is right.

        `IdempotencyConflictError` if the key of the request stands for another one.
        """
        key = order.idempotency
        if key is None:
            return self._create(str(uuid4()), order, at=at)
        run_id = run_id_of_key(order.pipeline_id, key.key)
        return self._queue.replay(run_id, request_hash=key.request_hash) or self._create(run_id, order, at=at)

    def start_all(self, orders: Mapping[str, RunOrder], *, at: datetime) -> bool:
        """Queue runs by their Dagster ids, in this order: all or none. They share the key of the request, if any.

        True if an earlier request of the same key has done so; `IdempotencyConflictError` if that was another one. Such
        requests must give their first runs the same id.
        """
        first_id, first = next(iter(orders.items()))
        key = first.idempotency

        def make() -> list[DagsterRun]:
            return [self._make(run_id, order) for run_id, order in orders.items()]

        if key is not None and self._queue.replay(first_id, request_hash=key.request_hash):
            return True
        try:
            put_runs(make, blueprints=self._blueprints, queue=self._queue, at=at)
        except RunExistsError:  # somebody has asked for the same at the same moment, or the answer to us was lost
            return key is None or self._queue.replay(first_id, request_hash=key.request_hash) is not None
        return False

    def _create(self, run_id: str, order: RunOrder, *, at: datetime) -> StartedRun:
        def make() -> list[DagsterRun]:
            return [self._make(run_id, order)]

        def put() -> StartedRun:
            put_runs(make, blueprints=self._blueprints, queue=self._queue, at=at)
            return StartedRun(dagster_id=run_id, queued_at=at)

        try:
            return put()
        except RunExistsError:  # somebody has asked for the same at the same moment, or the answer to us was lost
            if order.idempotency is None:
                return StartedRun(dagster_id=run_id, queued_at=at)
            found = self._queue.replay(run_id, request_hash=order.idempotency.request_hash)
            return found or put()

    def _make(self, run_id: str, order: RunOrder) -> DagsterRun:
        loaded = self._connection.loaded()
        catalog = self._catalog_of(loaded)
        pipeline = catalog.get(order.pipeline_id)
        environment = find_environment(catalog, named=order.environment_id)
        nodes = None if order.nodes is None else select_nodes(pipeline["plan"], wanted=order.nodes)
        with dagster_errors():
            instance = self._connection.instance()
            blueprint = self._blueprints.get(instance, loaded=loaded, pipeline=pipeline, nodes=nodes)
        config = fill_config(
            blueprint.config, catalog=catalog, pipeline=pipeline, environment=environment, variables=order.variables
        )
        check_config(blueprint, config=config)
        tags = {
            **order.tags,
            tag_names.PIPELINE_ID: pipeline["id"],
            tag_names.PIPELINE_VERSION: pipeline["version"],
            tag_names.TAGS_OF: run_id,
            tag_names.TRIGGER: order.trigger,
        }
        optional = {
            tag_names.USER: order.user,
            tag_names.ENVIRONMENT_ID: environment["id"] if environment else order.environment_id,
            PRIORITY_TAG: None if order.priority is None else str(order.priority),
            tag_names.REQUEST_HASH: order.idempotency.request_hash if order.idempotency else None,
        }
        given = {key: value for key, value in optional.items() if value is not None}
        return blueprint.run._replace(run_id=run_id, run_config=config, tags={**blueprint.run.tags, **tags, **given})


def put_runs(make: Callable[[], Sequence[DagsterRun]], *, blueprints: Blueprints, queue: Queue, at: datetime) -> None:
    """Queue the runs that are made; once more, if what they stand on turns out to be lost. `RunExistsError`."""
    try:
        return queue.put(make(), at=at)
    except SnapshotsLostError:
        blueprints.forget()
    return queue.put(make(), at=at)


def check_config(blueprint: Blueprint, *, config: Mapping[str, Any]) -> None:
    """Refuse what the job would refuse, before a run exists."""
    root = blueprint.job.root_config_key
    if root is None:
        return
    result = validate_config_from_snap(blueprint.job.config_schema_snapshot, root, dict(config))
    if not result.success:
        details = [Detail("variables", error.message) for error in result.errors or ()]
        raise InvalidRequestError("The pipeline does not accept these variables.", details=details)
