"""Hears what is announced over Postgres's LISTEN, for as long as the connection holds, and connects anew."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from logging import getLogger

import psycopg2
import psycopg2.extensions

from planasonix_orchestrator.contract.cancellation import CHANNEL, RUN_HOST_CONNECTION

logger = getLogger("planasonix.run_host")

_SECONDS_BEFORE_RECONNECT = 0.5


async def listen(postgres_url: str, *, heard: Callable[[], None]) -> None:
    """Call `heard` for each announcement, and whenever some may have been missed."""
    while True:
        try:
            connection = await asyncio.to_thread(_connect, postgres_url)
        except psycopg2.OperationalError:
            await asyncio.sleep(_SECONDS_BEFORE_RECONNECT)
            continue
        with closing(connection):
            heard()
            await _until_lost(connection, heard=heard)
        logger.warning("the connection on which runs are announced is lost")


def _connect(postgres_url: str) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(
        postgres_url,
        connect_timeout=3,
        application_name=RUN_HOST_CONNECTION,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    return connection


async def _until_lost(connection: psycopg2.extensions.connection, *, heard: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    descriptor = connection.fileno()
    loop.add_reader(descriptor, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            try:
                connection.poll()
            except psycopg2.Error:
                return
            if connection.notifies:
                connection.notifies.clear()
                heard()
    finally:
        loop.remove_reader(descriptor)
