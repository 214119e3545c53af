"""What storage does by itself once the database is there: makes its indexes, and takes its first look at all runs."""

import logging
from contextlib import closing
from threading import Event, Thread
from typing import Any

import psycopg2.extensions
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from api_adapter.errors import ApiError
from api_adapter.storage.database import Connection
from api_adapter.storage.indexes import create_indexes
from api_adapter.storage.outline import Outline
from api_adapter.storage.schema import check_schema

logger = logging.getLogger("api_adapter")

_SECONDS_BEFORE_RETRY = 1.0


class Upkeep:
    """A thread that does the upkeep once, as soon as the database can be reached."""

    def __init__(self, url: str, *, outline: Outline) -> None:
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg2"),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 3, "application_name": "planasonix-api-upkeep"},
        )
        self._outline = outline
        self._stopped = Event()
        self._working: psycopg2.extensions.connection | None = None
        self._thread = Thread(target=self._run, name="storage-upkeep", daemon=True)

    def start(self) -> None:
        """Begin; nothing needs to be reachable yet."""
        self._thread.start()

    def stop(self) -> None:
        """Break off what goes on; it is done again at the next start."""
        self._stopped.set()
        while self._thread.is_alive():
            working = self._working
            if working is not None:
                working.cancel()
            self._thread.join(timeout=0.1)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with closing(self._engine.raw_connection()) as pooled:
                    self._work(pooled.dbapi_connection)
            except (psycopg2.Error, ApiError) as error:
                logger.debug("upkeep waits for the database: %s", error)
                self._stopped.wait(_SECONDS_BEFORE_RETRY)
            else:
                return

    def _work(self, driver: Any) -> None:
        self._working = driver
        connection = Connection(driver, prepared={})
        try:
            check_schema(connection)
            self._outline.look(connection)
            if not self._stopped.is_set():
                create_indexes(connection)
        finally:
            self._working = None
