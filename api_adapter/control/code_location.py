"""The code location: what the code server has loaded, always its newest, over gRPC."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import RLock

import psycopg2
import psycopg2.extensions
from dagster import DagsterInstance
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from api_adapter.control.dagster_api import (
    DagsterGrpcClient,
    DagsterUserCodeUnreachableError,
    GrpcServerCodeLocation,
    GrpcServerTarget,
    RemoteRepository,
    WorkspaceProcessContext,
    WorkspaceRequestContext,
)
from api_adapter.errors import UnavailableError
from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME, REPOSITORY_NAME

logger = logging.getLogger("api_adapter")

_SERVER_ID_TIMEOUT_SECONDS = 2
_SILENT_SECONDS = 1.0  # for which a server that did not answer is not asked again
OUR_CONNECTIONS = "planasonix-"  # how the application names of our own pools begin
_POOL = {"statement_timeout": 15_000, "pool_recycle": 3600, "max_overflow": 20}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the code server has loaded at this moment; `version` changes with every load."""

    workspace: WorkspaceRequestContext
    location: GrpcServerCodeLocation
    repository: RemoteRepository
    version: str


class DagsterConnection:
    """This process's Dagster instance and its view of the code server, opened on first use.

    Neither Postgres nor the code server needs to be there when the service starts; each use tries again.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._client = DagsterGrpcClient(host=settings.code_server_host, port=settings.code_server_port)
        self._lock = RLock()
        self._opened = ExitStack()
        self._instance: DagsterInstance | None = None
        self._process: WorkspaceProcessContext | None = None
        self._silent_until = float("-inf")

    def instance(self) -> DagsterInstance:
        """Return the instance that dagster.yaml describes; `UnavailableError` if its Postgres is away."""
        with self._lock:
            if self._instance is None:
                with dagster_errors():
                    instance = self._opened.enter_context(DagsterInstance.from_config(self._settings.dagster_home))
                    instance.optimize_for_webserver(**_POOL)
                    _replace_lost_connections()
                self._instance = instance
            return self._instance

    def loaded(self) -> Loaded:
        """Return what the code server has loaded; `UnavailableError` if it is away or its code does not load."""
        with self._asking():
            server_id = self._server_id()
            process = self._workspace()
            location = _location(process)
            if location is None or server_id != location.server_id:
                process.refresh_code_location(CODE_LOCATION_NAME)
                location = _location(process)
        if location is None or not location.has_repository(REPOSITORY_NAME):
            logger.warning("the code location is not there: %s", _load_error(process))
            raise UnavailableError("The code location")
        return Loaded(
            workspace=process.create_request_context(),
            location=location,
            repository=location.get_repository(REPOSITORY_NAME),
            version=location.server_id,
        )

    def close(self) -> None:
        """Close the instance and stop watching the code server."""
        with self._lock:
            self._opened.close()
            self._instance = self._process = None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Hold the lock while asking the server; `UnavailableError` at once while it is known to be silent.

        Who asks a server that hangs holds a thread for as long as that may take, and all together every thread.
        """
        waits = self._silent_until == float("-inf")
        if not self._lock.acquire(blocking=waits):
            raise UnavailableError("The code server")
        try:
            if time.monotonic() < self._silent_until:
                raise UnavailableError("The code server")
            yield
        finally:
            self._lock.release()

    def _server_id(self) -> str:
        """Return the id of the load that the server now serves: asking is cheap, and no reload is ever missed."""
        began = time.monotonic()
        try:
            with dagster_errors():
                server_id: str = self._client.get_server_id(timeout=_SERVER_ID_TIMEOUT_SECONDS)
        except UnavailableError:
            if time.monotonic() - began >= _SERVER_ID_TIMEOUT_SECONDS:
                self._silent_until = time.monotonic() + _SILENT_SECONDS
            raise
        self._silent_until = float("-inf")
        return server_id

    def _workspace(self) -> WorkspaceProcessContext:
        if self._process is None:
            target = GrpcServerTarget(
                host=self._settings.code_server_host,
                port=self._settings.code_server_port,
                socket=None,
                location_name=CODE_LOCATION_NAME,
            )
            process = WorkspaceProcessContext(self.instance(), target)
            self._process = self._opened.enter_context(process)
        return self._process


def _replace_lost_connections() -> None:
    """Try each pooled connection before it is used, so that a restart of Postgres fails no request that comes later.

    Dagster gives its pools no such option, so it is said of all pools of this process, less our own, which see to it
    themselves without a further round trip, and those of other databases.
    """
    if not event.contains(Pool, "checkout", _try_connection):
        event.listen(Pool, "checkout", _try_connection)


def _try_connection(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
    if "tried" not in record.info:
        record.info["tried"] = _is_of_dagster(connection)
    if not record.info["tried"]:
        return
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        cursor.close()
        connection.rollback()
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise DisconnectionError from error  # which makes the pool connect anew


def _is_of_dagster(connection: object) -> bool:
    if not isinstance(connection, psycopg2.extensions.connection):
        return False
    return not connection.get_dsn_parameters().get("application_name", "").startswith(OUR_CONNECTIONS)


def _location(process: WorkspaceProcessContext) -> GrpcServerCodeLocation | None:
    entry = process.get_current_workspace().code_location_entries[CODE_LOCATION_NAME]
    location = entry.code_location
    return location if isinstance(location, GrpcServerCodeLocation) else None


def _load_error(process: WorkspaceProcessContext) -> str:
    error = process.get_current_workspace().code_location_entries[CODE_LOCATION_NAME].load_error
    return error.message.strip() if error else f"it has no repository {REPOSITORY_NAME!r}"


@contextmanager
def dagster_errors() -> Iterator[None]:
    """Translate Dagster's own trouble with its parts; `UnavailableError` says which of them is away."""
    try:
        yield
    except DBAPIError as error:
        # The driver tells of some lost connections in the class of all its errors.
        if not (isinstance(error, OperationalError) or error.connection_invalidated):
            raise
        raise UnavailableError("The database") from error
    except DagsterUserCodeUnreachableError as error:
        raise UnavailableError("The code server") from error
