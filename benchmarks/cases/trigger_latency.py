"""How long it takes from what happens outside to the first node of the run that it starts."""

import hashlib
import hmac
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import psycopg2

from benchmarks.control.stacks import Stack, our_stack, stock_daemon
from benchmarks.control.stock_sensors import FOLDER_VARIABLE
from benchmarks.frame import Case, Goal, Sides, Site

_EVENTS = 5  # of ours in a round
_SECONDS_AT_MOST = 120.0
_STOCK_INTERVAL = 30.0  # Dagster's default
_SECRET_VARIABLE = "PLANASONIX_BENCHMARK_SECRET"  # noqa: S105  (a name)
_SECRET = "not much of a secret"  # noqa: S105  (of this measurement alone)
# The time at which the first node of the newest run of a job has started, if that began after a moment.
_FIRST_START = """
SELECT min(extract(epoch FROM events.timestamp)) FROM event_logs AS events JOIN runs ON runs.run_id = events.run_id
WHERE runs.pipeline_name = %(job)s AND events.dagster_event_type = 'STEP_START'
AND runs.create_timestamp > to_timestamp(%(after)s) AT TIME ZONE 'UTC' - interval '1 second'"""
_ENDED = """
SELECT max(end_time) FROM runs WHERE pipeline_name = %(job)s AND status = 'SUCCESS' AND end_time > %(after)s"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One side: its folder of arrivals, its database, and how its upstream job is started."""

    inbox: Path
    postgres_url: str
    start_upstream: Callable[[], object]

    def file(self) -> float:
        """Return the seconds from a file that is there to the first node."""
        began = time.time()
        # Whole at once, as one that is moved into the folder.
        part = self.inbox.parent / f"{uuid4().hex}.part"
        part.write_text("n\n1\n", encoding="utf-8")
        part.replace(self.inbox / f"{uuid4().hex}.csv")
        return self.first_start("arrived", after=began) - began

    def upstream(self) -> float:
        """Return the seconds from the end of the upstream run to the first node."""
        began = time.time()
        self.start_upstream()
        ended = self._until(_ENDED, job="upstream", after=began)
        return self.first_start("downstream", after=ended) - ended

    def first_start(self, job: str, *, after: float) -> float:
        """Return when the first node of the run of a job has started that was made after a moment."""
        return self._until(_FIRST_START, job=job, after=after)

    def _until(self, statement: str, **parameters: Any) -> float:
        deadline = time.monotonic() + _SECONDS_AT_MOST
        connection = psycopg2.connect(self.postgres_url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                while True:
                    cursor.execute(statement, parameters)
                    (found,) = cursor.fetchone() or (None,)
                    if found is not None:
                        return float(found)
                    assert time.monotonic() < deadline, f"nothing has come of it: {parameters}"
                    time.sleep(0.02)
        finally:
            connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _SidesOfTriggers:
    ours: _Side
    stock: _Side
    stack: Stack


@contextmanager
def build_file(site: Site) -> Iterator[Sides]:
    """Move a file into a watched folder."""
    sides = _sides_of(site)
    yield Sides(ours=lambda: _median_of(sides.ours.file), stock=lambda: _at_any_moment(sides.stock.file))


@contextmanager
def build_upstream(site: Site) -> Iterator[Sides]:
    """Let a pipeline succeed that another one waits for."""
    sides = _sides_of(site)
    yield Sides(ours=lambda: _median_of(sides.ours.upstream), stock=lambda: _at_any_moment(sides.stock.upstream))


@contextmanager
def build_webhook(site: Site) -> Iterator[Sides]:
    """Call a webhook, of which Dagster has none."""
    sides = _sides_of(site)

    def call() -> float:
        began = time.time()
        body = json.dumps({"id": uuid4().hex}).encode()
        answer = sides.stack.api.post("/api/webhooks/trigger/trg_called", content=body, headers=_signed(body))
        run_id = answer.raise_for_status().json()["pipeline_run_id"]
        run = sides.stack.api.get(f"/api/runs/{run_id}").raise_for_status().json()
        assert run["trigger"]["type"] == "webhook"
        return sides.ours.first_start("called", after=began) - began

    yield Sides(ours=lambda: _median_of(call))


def _median_of(measure: Callable[[], float]) -> float:
    return median(measure() for _ in range(_EVENTS))


def _at_any_moment(measure: Callable[[], float]) -> float:
    """Measure at a moment that has nothing to do with the sensor's own time."""
    time.sleep(random.uniform(0, _STOCK_INTERVAL))  # noqa: S311  (nothing to guess)
    return measure()


def _signed(body: bytes) -> Mapping[str, str]:
    at = str(int(time.time()))
    signature = hmac.new(_SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Planasonix-Timestamp": at, "X-Planasonix-Signature": f"v1={signature}"}


def _sides_of(site: Site) -> _SidesOfTriggers:
    sides: _SidesOfTriggers = site.share("sides of triggers", lambda: _open_sides(site))
    return sides


@contextmanager
def _open_sides(site: Site) -> Iterator[_SidesOfTriggers]:
    folder = site.folder("triggers")
    os.environ[_SECRET_VARIABLE] = _SECRET  # the stack inherits it
    inboxes = {name: _emptied(folder / f"inbox_{name}") for name in ("ours", "stock")}
    _write_pipelines(folder / "pipelines", inbox=inboxes["ours"])
    with (
        our_stack(folder / "ours", pipelines=folder / "pipelines") as stack,
        stock_daemon(
            folder / "stock", module="benchmarks.control.stock_sensors", more={FOLDER_VARIABLE: str(inboxes["stock"])}
        ) as daemon,
    ):
        ours = _Side(
            inbox=inboxes["ours"],
            postgres_url=stack.postgres_url,
            start_upstream=lambda: stack.api.post("/api/pipelines/pl_upstream/run", json={}).raise_for_status(),
        )
        stock = _Side(inbox=inboxes["stock"], postgres_url=daemon.postgres_url, start_upstream=daemon.launch_upstream)
        for side in (ours, stock):  # all code is loaded then, and what watches has looked once
            side.file()
            side.upstream()
        yield _SidesOfTriggers(ours=ours, stock=stock, stack=stack)


def _emptied(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder


def _write_pipelines(folder: Path, *, inbox: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_text("n\n1\n", encoding="utf-8")
    watching = {"path": str(inbox), "include": ["*.csv"], "detection": "first_seen", "pollIntervalSeconds": 1}
    triggers: dict[str, dict[str, Any] | None] = {
        "arrived": {"id": "trg_arrived", "triggerType": "file_watcher", "config": watching},
        "upstream": None,
        "downstream": {"id": "trg_after", "triggerType": "upstream", "config": {"pipelineId": "pl_upstream"}},
        "called": {"id": "trg_called", "triggerType": "webhook", "config": {"secret": {"env": _SECRET_VARIABLE}}},
    }
    for name, trigger in triggers.items():
        document = {
            "id": f"pl_{name}",
            "name": name,
            "nodes": [{"id": "n_in", "type": "source.csv", "config": {"path": "rows.csv"}}],
            "triggers": [trigger] if trigger else [],
        }
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


TRIGGER_LATENCY = (
    Case(
        name="trigger_file",
        title="from a file that arrives to the first node, looked for each second",
        goal=Goal(figure=3, times_better_than_stock=5),
        build=build_file,
        rounds=3,
        warm_up=False,
    ),
    Case(
        name="trigger_upstream",
        title="from the success of a pipeline to the first node of the next",
        goal=Goal(figure=3, times_better_than_stock=5),
        build=build_upstream,
        rounds=3,
        warm_up=False,
    ),
    Case(
        name="trigger_webhook",
        title="from the call of a webhook to the first node",
        goal=Goal(figure=0.5),
        build=build_webhook,
        rounds=3,
        warm_up=False,
    ),
)
