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
from dagster import DagsterEvent, DagsterInstance, DagsterRun, DagsterRunStatus, EventLogEntry

from benchmarks.control.stacks import Stack, our_stack, stock_daemon
from benchmarks.control.stock_sensors import FOLDER_VARIABLE
from benchmarks.frame import Case, Goal, Sides, Site

_EVENTS = 5  # of ours in a round
_SECONDS_AT_MOST = 120.0
_ENDS, _SECONDS_OF_ENDS = 1000, 60.0  # of upstream runs in a burst
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


# How late each run was created that follows the end of another, in seconds, and how many of them have succeeded.
_LATE = """
SELECT extract(epoch FROM children.create_timestamp - ends.timestamp)::float, children.status
FROM runs AS children
JOIN run_tags AS told ON told.run_id = children.run_id AND told.key = 'planasonix/upstream_run'
JOIN event_logs AS ends ON ends.run_id = told.value AND ends.dagster_event_type = 'PIPELINE_SUCCESS'
WHERE children.pipeline_name = 'following'"""


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
        rows = _until(self.postgres_url, lambda rows: rows[0][0] is not None, statement, parameters)
        return float(rows[0][0])


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
def build_burst(site: Site) -> Iterator[Sides]:
    """Let a thousand runs succeed within a minute, each of which another one follows, while those are at work.

    Without stock, whose sensor would look for a day.
    """
    folder = site.folder("burst")
    figures: dict[str, float] = {}

    def burst() -> float:
        _write_pipelines(folder / "pipelines", triggers={"ending": None, "following": _follows("ending")})
        with our_stack(folder / "ours", pipelines=folder / "pipelines") as stack, _record_of(stack, folder) as instance:
            _await_look(stack.postgres_url)  # what has ended before does not count
            began = time.monotonic()
            for number in range(_ENDS):
                time.sleep(max(0.0, began + number * _SECONDS_OF_ENDS / _ENDS - time.monotonic()))
                _succeed(instance, "ending")
            figures["seconds in which they ended"] = time.monotonic() - began
            late = _await_followers(stack.postgres_url)
            figures["seconds until the last follower had succeeded"] = time.monotonic() - began
        assert len(late) == _ENDS, f"{len(late)} runs follow {_ENDS}"
        figures["median (s)"] = median(late)
        return max(late)

    yield Sides(ours=burst, details=lambda: figures)


@contextmanager
def _record_of(stack: Stack, folder: Path) -> Iterator[DagsterInstance]:
    """Open the record of a stack, to write into it as its runs do."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(
        json.dumps({"storage": {"postgres": {"postgres_url": stack.postgres_url}}, "telemetry": {"enabled": False}}),
        encoding="utf-8",
    )
    with DagsterInstance.from_config(str(home)) as instance:
        instance.optimize_for_webserver(statement_timeout=10_000, pool_recycle=3600, max_overflow=5)
        yield instance


def _succeed(instance: DagsterInstance, pipeline: str) -> None:
    tags = {"planasonix/pipeline_id": f"pl_{pipeline}"}
    run = DagsterRun(pipeline, run_id=str(uuid4()), tags=tags, status=DagsterRunStatus.SUCCESS)
    instance.add_run(run)
    instance.store_event(
        EventLogEntry(
            error_info=None,
            user_message="",
            level=20,
            run_id=run.run_id,
            timestamp=time.time(),
            job_name=pipeline,
            dagster_event=DagsterEvent("PIPELINE_SUCCESS", pipeline),
        )
    )


def _await_look(postgres_url: str) -> None:
    """Wait until the trigger's sensor has looked once."""
    _until(postgres_url, lambda rows: bool(rows), "SELECT FROM job_ticks WHERE status <> 'STARTED'")


def _await_followers(postgres_url: str) -> list[float]:
    """Return how late each follower was created, once all have succeeded."""
    rows = _until(
        postgres_url,
        lambda rows: len(rows) >= _ENDS and all(status == "SUCCESS" for _, status in rows),
        _LATE,
        pause=1,  # it is no small statement
    )
    return [late for late, _ in rows]


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


def _until(
    postgres_url: str,
    enough: Callable[[list[tuple[Any, ...]]], bool],
    statement: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    pause: float = 0.02,
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, as soon as they are enough."""
    deadline = time.monotonic() + _SECONDS_AT_MOST
    connection = psycopg2.connect(postgres_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            while True:
                cursor.execute(statement, parameters)
                rows = cursor.fetchall()
                if enough(rows):
                    return rows
                assert time.monotonic() < deadline, f"{len(rows)} rows are not enough: {parameters or statement}"
                time.sleep(pause)
    finally:
        connection.close()


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
    watching = {"path": str(inboxes["ours"]), "include": ["*.csv"], "detection": "first_seen", "pollIntervalSeconds": 1}
    triggers: dict[str, Mapping[str, Any] | None] = {
        "arrived": {"id": "trg_arrived", "triggerType": "file_watcher", "config": watching},
        "upstream": None,
        "downstream": _follows("upstream"),
        "called": {"id": "trg_called", "triggerType": "webhook", "config": {"secret": {"env": _SECRET_VARIABLE}}},
    }
    _write_pipelines(folder / "pipelines", triggers=triggers)
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


def _follows(pipeline: str) -> Mapping[str, Any]:
    return {"id": "trg_after", "triggerType": "upstream", "config": {"pipelineId": f"pl_{pipeline}"}}


def _write_pipelines(folder: Path, *, triggers: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Write a small pipeline of each name, with its trigger, if it has one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_text("n\n1\n", encoding="utf-8")
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
        name="trigger_burst",
        title="1,000 successes in a minute: how late the last run that follows was created",
        goal=Goal(figure=5),
        build=build_burst,
        rounds=1,
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
