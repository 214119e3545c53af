"""A Dagster with runs to which things happen, and a real notifier that tells of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterInstance
from dagster._core.events import DagsterEvent

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.notifier.retries import DELAYS_VARIABLE
from tests.api.conftest import dagster_home
from tests.api.waiting import wait_until
from tests.conftest import superuser
from tests.notifier.receiver import SECRET, Receiver, receiving

TOKEN = "t0ken-of-the-receiver"
_LONG = 60.0


@dg.job
def orders() -> None:
    """A pipeline to which things happen."""


class World:
    """A pipelines folder, a Dagster, a receiver, and at most one notifier of this test."""

    def __init__(self, folder: Path, *, url: str, instance: DagsterInstance, receiver: Receiver) -> None:
        self.url = url
        self.instance = instance
        self.receiver = receiver
        self.pipelines = folder / "pipelines"
        self.log = folder / "notifier.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.pipelines.mkdir()

    def configure(self, **endpoints: Mapping[str, Any]) -> None:
        """Have these endpoints, each at the path of its own name, and wait until the notifier knows them."""
        common = {"secret": {"env": "HOOK_SECRET"}}
        written = {id_: {"url": self.receiver.url(id_), **common, **more} for id_, more in endpoints.items()}
        (self.pipelines / "webhooks.yaml").write_text(json.dumps({"endpoints": written}))
        if self.process is not None:
            self.wait(lambda: self._known() >= endpoints.keys())

    def start(self, *, delays: Sequence[float] = (0.1,) * 50, **environment: str) -> None:
        """Start a notifier that tries again after these seconds."""
        variables = {
            **os.environ,
            "PLANASONIX_POSTGRES_URL": self.url,
            "PLANASONIX_PIPELINES": str(self.pipelines),
            "HOOK_SECRET": SECRET,
            "HOOK_TOKEN": TOKEN,
            DELAYS_VARIABLE: ",".join(map(str, delays)),
            **environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "planasonix_orchestrator.notifier"], env=variables, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """Kill the notifier, so that it can do nothing more."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def create(self, **more: str) -> str:
        """Create a run and return its Dagster id; `more` are further tags, ``a__b`` for ``a/b``."""
        named = {key.replace("__", "/"): value for key, value in more.items()}
        return self.instance.create_run_for_job(orders, tags={tags.PIPELINE_ID: "pl_a", **named}).run_id

    def happen(self, run_id: str, *kinds: str) -> None:
        """Have these events happen to a run, one after the other: START, SUCCESS, FAILURE, CANCELED."""
        for kind in kinds:
            event = DagsterEvent(event_type_value=f"PIPELINE_{kind}", job_name=orders.name, message=f"it is {kind}")
            self.instance.report_dagster_event(event, run_id=run_id)

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a statement selects."""
        with superuser(self.url) as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall()

    def deliveries(self, endpoint: str) -> list[tuple[Any, ...]]:
        """State, attempts and reason of each delivery to an endpoint."""
        statement = """SELECT state, attempts, reason FROM planasonix.webhook_deliveries
            WHERE endpoint_id = %s ORDER BY number"""
        return self.rows(statement, [endpoint])

    def wait(self, condition: Any, *, seconds: float = _LONG) -> None:
        """Wait until something is so; the notifier's log says more if it does not come."""
        try:
            wait_until(condition, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(self.log.read_text() if self.log.exists() else "no log") from error

    def _known(self) -> set[str]:
        if not self.rows("SELECT 1 WHERE to_regclass('planasonix.webhook_attempts') IS NOT NULL"):
            return set()
        return {id_ for (id_,) in self.rows("SELECT id FROM planasonix.webhook_endpoints WHERE present")}


def api_id(run_id: str) -> str:
    """The API's id of a run."""
    return encode_run_id(run_id)


def stamp(moment: datetime) -> str:
    """A moment as tags have it."""
    return moment.isoformat().replace("+00:00", "Z")


@contextmanager
def world_at(folder: Path, *, url: str) -> Iterator[World]:
    """A world on a database of its own."""
    home = folder / "home"
    home.mkdir()
    with dagster_home(home, url=url) as instance, receiving() as receiver:
        world = World(folder, url=url, instance=instance, receiver=receiver)
        try:
            yield world
        finally:
            world.kill()
