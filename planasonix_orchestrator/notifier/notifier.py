"""The notifier: looks at what has happened, sends what is due, and writes down what came of it, again and again.

What it keeps in mind it could find out again: one that was killed is replaced by the next, which may send once more
what was being sent at that moment, and loses nothing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from logging import getLogger
from typing import Final, TypeVar

import httpx
import psycopg2
from psycopg2 import errors

from planasonix_orchestrator.notifier.database import Session
from planasonix_orchestrator.notifier.endpoints import Endpoint, Endpoints, FolderEndpoints, ready
from planasonix_orchestrator.notifier.ledger import Delivery, Ledger, restore
from planasonix_orchestrator.notifier.retries import RetryPolicy
from planasonix_orchestrator.notifier.sending import Attempt, open_client, send
from planasonix_orchestrator.notifier.tables import ensure_tables
from planasonix_orchestrator.settings import Settings

logger = getLogger("planasonix.notifier")

ResultT = TypeVar("ResultT")

_SECONDS_BETWEEN_LOOKS: Final = 0.5
_SECONDS_AFTER_TROUBLE: Final = 1.0
_SECONDS_BETWEEN_LATE_LOOKS: Final = 2.0
_SECONDS_BETWEEN_PRUNINGS: Final = 3600.0
_SECONDS_TO_END: Final = 3.0  # for what is being sent when the notifier is to stop
_MOST_AT_ONCE: Final = 4  # messages to one endpoint


class Notifier:
    """Tells the endpoints of a pipelines folder what happens to runs, until it is cancelled."""

    def __init__(self, settings: Settings, *, postgres_url: str, environment: Mapping[str, str]) -> None:
        self._postgres_url = postgres_url
        self._environment = environment
        self._folder = FolderEndpoints(settings.pipelines, environment=environment)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._busy: dict[int, str] = {}  # what is being sent, by number, until that is written down; and to whom
        self._sending: set[asyncio.Task[None]] = set()
        self._sent: list[tuple[Delivery, Attempt]] = []  # that are not written down yet
        self._wake = asyncio.Event()

    async def run(self, *, policy: RetryPolicy) -> None:
        """Work for ever, on one connection after the other. Cancelled, it waits a little for what is being sent."""
        async with open_client() as client:
            while True:
                try:
                    session = await self._ask(Session, self._postgres_url)
                except psycopg2.OperationalError:
                    logger.warning("Postgres is away")
                    await asyncio.sleep(_SECONDS_AFTER_TROUBLE)
                    continue
                try:
                    await self._work(session, policy=policy, client=client)
                except errors.UndefinedTable:
                    logger.info("Dagster has not made its tables yet")
                except psycopg2.Error as error:
                    logger.warning("Postgres: %s: %s", type(error).__name__, str(error).partition("\n")[0])
                finally:
                    session.close()
                await asyncio.sleep(_SECONDS_AFTER_TROUBLE)

    async def _work(self, session: Session, *, policy: RetryPolicy, client: httpx.AsyncClient) -> None:
        await self._become_the_one(session)
        await self._ask(ensure_tables, session)
        desk = _Desk(Ledger(session, policy=policy), environment=self._environment)
        try:
            while True:
                more = await self._look(desk, client=client)
                self._wake.clear()
                if not more and not self._sent:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), _SECONDS_BETWEEN_LOOKS)
        except asyncio.CancelledError:
            await self._finish(desk)
            raise

    async def _become_the_one(self, session: Session) -> None:
        """Wait until no other notifier works: its end is not announced, so that somebody has to ask."""
        while True:
            if await self._ask(session.become_the_one):
                return
            await asyncio.sleep(_SECONDS_AFTER_TROUBLE)

    async def _look(self, desk: "_Desk", *, client: httpx.AsyncClient) -> bool:
        """Do what there is to do; tell whether there may be more at once."""
        await self._write_down(desk)
        more = await self._ask(desk.look, self._folder.read())
        taken = Counter(self._busy.values())
        free = {id_: _MOST_AT_ONCE - taken[id_] for id_ in desk.targets if taken[id_] < _MOST_AT_ONCE}
        if free:
            busy = list(self._busy)
            for delivery in await self._ask(lambda: desk.ledger.due(free, busy=busy)):
                self._busy[delivery.number] = delivery.endpoint_id
                task = asyncio.create_task(self._send(delivery, desk.targets[delivery.endpoint_id], client=client))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
        return more

    async def _send(self, delivery: Delivery, endpoint: Endpoint, *, client: httpx.AsyncClient) -> None:
        assert endpoint.target is not None  # noqa: S101 - of those that can be sent to
        attempt = await send(client, endpoint.target, message_id=delivery.id, body=delivery.body)
        if not attempt.succeeded:
            logger.info("%s to %s: %s", delivery.id, delivery.endpoint_id, attempt.failure)
        self._sent.append((delivery, attempt))
        self._wake.set()

    async def _write_down(self, desk: "_Desk") -> None:
        while self._sent:
            try:
                await self._ask(desk.ledger.record, *self._sent[0])
            except asyncio.CancelledError:
                self._forget_first()  # it was written down all the same
                raise
            self._forget_first()

    def _forget_first(self) -> None:
        delivery, _ = self._sent.pop(0)
        del self._busy[delivery.number]

    async def _finish(self, desk: "_Desk") -> None:
        if self._sending:
            await asyncio.wait(self._sending, timeout=_SECONDS_TO_END)
        with suppress(psycopg2.Error):
            await self._write_down(desk)

    async def _ask(self, question: Callable[..., ResultT], *arguments: object) -> ResultT:
        """Ask the database in its thread. Once begun, it is brought to its end, since what it changes must be known."""
        asked = asyncio.get_running_loop().run_in_executor(self._thread, question, *arguments)
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            await asyncio.wait([asked])
            raise


class _Desk:
    """What a notifier does with its ledger in one look; only the thread of the database works here."""

    def __init__(self, ledger: Ledger, *, environment: Mapping[str, str]) -> None:
        self.ledger = ledger
        self.targets: dict[str, Endpoint] = {}  # that can be sent to
        self._environment = environment
        self._published: Endpoints | None = None
        self._endpoints: tuple[Endpoint, ...] = ()
        self._late_at = float("-inf")
        self._pruned_at = float("-inf")

    def look(self, endpoints: Endpoints) -> bool:
        """Make deliveries of what has happened; tell whether there may be more at once."""
        if endpoints is not self._published:
            self._publish(endpoints)
        now = time.monotonic()
        if now - self._late_at >= _SECONDS_BETWEEN_LATE_LOOKS:
            self._late_at = now
            # With no endpoint it notices, if nothing else, that the connection is lost.
            self.ledger.collect_late(self._endpoints, now=datetime.now(UTC))
        if now - self._pruned_at >= _SECONDS_BETWEEN_PRUNINGS and not self.ledger.prune():
            self._pruned_at = now
        return self.ledger.collect(self._endpoints) if self._endpoints else False

    def _publish(self, endpoints: Endpoints) -> None:
        former = restore(self.ledger.publish(endpoints))
        for id_ in (*endpoints.faulty, *former):
            logger.warning("endpoint %s of webhooks.yaml has problems; see planasonix validate", id_)
        kept = {id_: ready(id_, each, environment=self._environment) for id_, each in former.items()}
        self._endpoints = tuple({**kept, **endpoints.by_id}.values())
        self._published = endpoints
        self.targets = {each.id: each for each in self._endpoints if each.target and each.definition.enabled}
        for endpoint in self._endpoints:
            if endpoint.problem is not None:
                logger.warning("nothing can be sent to endpoint %s: %s", endpoint.id, endpoint.problem)
