"""Our executor, against real Postgres storage: parallel, limited, in order, and stopped for certain."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dagster import DagsterEvent, DagsterInstance, DagsterRun, JobDefinition, build_reconstructable_job, execute_job
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from dagster._core.execution.plan.objects import ErrorSource
from sqlglot import exp

from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.contract.pipelines import ExecutorType
from planasonix_orchestrator.dagster_defs import failures
from planasonix_orchestrator.dagster_defs.executor import build_executor
from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.nodes.base import NodeContext, Source
from planasonix_orchestrator.nodes.destinations.csv import CsvDestination
from tests.conftest import database, open_instance
from tests.dagster_defs.nodes import NoConfig, NumbersConfig, build_catalog
from tests.dagster_defs.pipelines import Document, causes_of, document, job_of, node, settings_of

pytestmark = pytest.mark.stack  # they work for seconds

PATIENCE = 30.0  # seconds after which a test gives up


class Meeting(Source[NoConfig]):
    """Yields a row once as many nodes as the barrier wants are here at once."""

    type_name = "source.meeting"
    title = "Meeting"
    config_model = NoConfig
    example: ClassVar = {}
    barrier: ClassVar[threading.Barrier]

    def read(self, _: NoConfig, context: NodeContext) -> Relation:
        self.barrier.wait(PATIENCE)
        return context.session.define(context.node_id, exp.select("1 AS n"))


class Endless(Source[NumbersConfig]):
    """Yields rows without an end, which nobody counts."""

    type_name = "source.endless"
    title = "Endless"
    config_model = NumbersConfig
    example: ClassVar = {}

    def read(self, _: NumbersConfig, context: NodeContext) -> Relation:
        query = exp.select("range AS n").from_("range(9000000000000)")
        return context.session.define(context.node_id, query).with_figures(rows=9_000_000_000_000)


@pytest.fixture(scope="module")
def instance(
    postgres_server: str, dagster_tables: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DagsterInstance]:
    """An instance with real storage and pooled connections, for all tests: each looks at its own run only."""
    home = tmp_path_factory.mktemp("home")
    with database(postgres_server, like=dagster_tables) as url:
        (home / "dagster.yaml").write_text(json.dumps({"storage": {"postgres": {"postgres_url": url}}}))
        with open_instance(home) as instance:
            yield instance


class Execution:
    """A run that goes on while its events are asked for, as under every launcher of Dagster's."""

    def __init__(
        self,
        job: JobDefinition,
        instance: DagsterInstance,
        *,
        limit: int | None = None,
        chosen: list[str] | None = None,
        **tags: str,
    ) -> None:
        self.instance = instance
        config = {**(job.run_config or {}), "execution": {"config": {"maxParallelNodes": limit}}}
        if chosen is not None:
            job = job.get_subset(op_selection=chosen)
            config["ops"] = {name: config["ops"][name] for name in chosen}
        self.run = instance.create_run_for_job(
            job,
            run_config=config,
            tags={**job.run_tags, **tags},
            op_selection=chosen,
            resolved_op_selection=frozenset(chosen) if chosen else None,
        )
        self.events = execute_run_iterator(InMemoryJob(job), self.run, instance)

    def finish(self) -> "Execution":
        """Go on to the end."""
        for _ in self.events:
            pass
        return self

    def cancel(self) -> None:
        """Do what Dagster's launchers do."""
        self.instance.report_run_canceling(self.run)
        os.kill(os.getpid(), signal.SIGTERM)

    def cancel_when(self, files: list[Path]) -> None:
        """Cancel from another thread as soon as the files are there."""

        def watch() -> None:
            while not all(file.exists() for file in files):
                pass
            self.cancel()

        threading.Thread(target=watch).start()

    @property
    def status(self) -> str:
        """The run's status as it is stored."""
        run = self.instance.get_run_by_id(self.run.run_id)
        assert isinstance(run, DagsterRun)
        return run.status.value

    def stored(self) -> list[tuple[str, str | None]]:
        """Type and step of every event, in the order in which they were stored."""
        records = self.instance.all_logs(self.run.run_id)
        return [(record.dagster_event.event_type_value, record.step_key) for record in records if record.dagster_event]

    def of_step(self, step_key: str) -> list[str]:
        """The types of a step's events."""
        return [type_ for type_, key in self.stored() if key == step_key]

    def failure(self, step_key: str) -> DagsterEvent:
        """The failure of a step."""
        (event,) = [
            record.dagster_event
            for record in self.instance.all_logs(self.run.run_id)
            if record.dagster_event and record.dagster_event.is_step_failure and record.step_key == step_key
        ]
        return event

    def code(self, step_key: str) -> Any:
        """The error code of a step's failure."""
        data = self.failure(step_key).step_failure_data.user_failure_data
        assert data is not None
        return data.metadata[metadata.ERROR_CODE].value

    def lines(self) -> list[tuple[str | None, str | int, str]]:
        """What was logged: step, level and text."""
        records = self.instance.all_logs(self.run.run_id)
        return [(record.step_key, record.level, record.user_message) for record in records if not record.dagster_event]


@pytest.fixture
def start(instance: DagsterInstance, tmp_path: Path) -> Callable[..., Execution]:
    """Start a run of a document."""
    catalog = build_catalog(Meeting(), Endless(), CsvDestination())

    def begin(pipeline: Document, **options: Any) -> Execution:
        return Execution(job_of(pipeline, folder=tmp_path, catalog=catalog), instance, **options)

    return begin


Start = Callable[..., Execution]


def meetings(number: int) -> Document:
    """A pipeline of nodes that don't depend on each other."""
    return document([node(f"n{i}", "source.meeting") for i in range(number)])


def test_independent_nodes_work_at_the_same_time(start: Start) -> None:
    """Two nodes that wait for each other both succeed."""
    Meeting.barrier = threading.Barrier(2)
    run = start(meetings(2), limit=2).finish()
    assert run.status == "SUCCESS"
    assert run.of_step("n0") == run.of_step("n1") == ["STEP_START", "STEP_OUTPUT", "STEP_SUCCESS"]


def test_no_more_nodes_work_at_once_than_the_limit(start: Start) -> None:
    """Where three must meet and two may work at once, nobody meets; the third starts after one of the others."""
    Meeting.barrier = threading.Barrier(3)
    threading.Timer(1.0, Meeting.barrier.abort).start()
    run = start(meetings(3), limit=2).finish()
    order = [type_ for type_, key in run.stored() if key and type_ in {"STEP_START", "STEP_FAILURE"}]
    assert order[:3] == ["STEP_START", "STEP_START", "STEP_FAILURE"]
    assert Counter(order) == {"STEP_START": 3, "STEP_FAILURE": 3}


def test_a_node_starts_when_those_before_it_have_ended(start: Start) -> None:
    """In the store, the start of a node comes after the success of all that it reads from."""
    nodes = [node(f"a{i}", "source.numbers") for i in range(6)]
    edges = [(f"a{i}", "s") for i in range(6)] + [("s", "out")]
    nodes += [node("s", "transform.stack"), node("out", "destination.collect", path="out.txt")]
    run = start(document(nodes, *edges), limit=4).finish()
    stored = run.stored()
    assert run.status == "SUCCESS"
    for before, after in edges:
        assert stored.index(("STEP_SUCCESS", before)) < stored.index(("STEP_START", after))


def test_a_wait_for_another_attempt_takes_no_thread(start: Start) -> None:
    """While a node waits to be tried again, the only thread works on another one."""
    nodes = [node("a", "source.numbers"), node("b", "transform.flaky", retries=1), node("c", "source.numbers")]
    run = start(document(nodes, ("a", "b")), limit=1, **{"dagster/priority": "0"}).finish()
    stored = run.stored()
    assert run.status == "SUCCESS"
    moments = [("STEP_UP_FOR_RETRY", "b"), ("STEP_RESTARTED", "b"), ("STEP_SUCCESS", "b")]
    assert sorted(moments, key=stored.index) == moments
    times = {
        record.dagster_event.event_type_value: record.timestamp
        for record in run.instance.all_logs(run.run.run_id)
        if record.dagster_event and record.step_key == "b"
    }
    assert times["STEP_RESTARTED"] - times["STEP_UP_FOR_RETRY"] >= 0.9
    assert stored.index(("STEP_SUCCESS", "c")) < stored.index(("STEP_RESTARTED", "b"))


def test_a_cancellation_ends_the_wait_for_another_attempt(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose only node waits is over at once, and the node is not tried again."""
    monkeypatch.setattr(failures, "_SECONDS_BEFORE_RETRY", 60.0)
    nodes = [node("a", "source.numbers"), node("b", "transform.flaky", retries=3)]
    run = start(document(nodes, ("a", "b")))
    for event in run.events:
        if event.is_step_up_for_retry:
            began = time.monotonic()
            run.cancel()
    assert time.monotonic() - began < 10
    assert run.status == "CANCELED"
    assert run.of_step("b") == ["STEP_START", "STEP_UP_FOR_RETRY"]


def slow(node_id: str, *, seconds: float = 300, inside: str = "engine", timeout: float | None = None) -> Document:
    """A node that takes its time."""
    return node(node_id, "transform.slow", seconds=seconds, inside=inside, timeout=timeout)


def side_by_side(*nodes: Document) -> Document:
    """A source that all the nodes read from."""
    return document([node("a", "source.numbers"), *nodes], *(("a", each["id"]) for each in nodes))


def test_a_node_out_of_time_leaves_the_others_alone(start: Start) -> None:
    """The limit stops one query, while that of a node beside it goes on to its end."""
    pipeline = side_by_side(slow("late", timeout=0.3), slow("steady", seconds=1.5))
    run = start(pipeline, limit=2).finish()
    assert run.code("late") == "timeout"
    assert run.of_step("steady")[-1] == "STEP_SUCCESS"
    assert run.status == "FAILURE"


def test_a_run_out_of_time_stops_its_nodes(start: Start) -> None:
    """At the run's limit its nodes fail for that reason, without another attempt, and no other node starts."""
    tries = node("tries", "transform.slow", retries=3, seconds=300)
    pipeline = document(
        [node("a", "source.numbers"), tries, slow("loops", inside="python"), node("b", "keep", expression="n > 1")],
        ("a", "tries"),
        ("a", "loops"),
        ("tries", "b"),
    )
    began = time.monotonic()
    run = start(pipeline, limit=2, **{"dagster/max_runtime": "1"}).finish()
    assert time.monotonic() - began < PATIENCE
    assert run.status == "FAILURE"
    for step_key in ("tries", "loops"):
        assert run.of_step(step_key) == ["STEP_START", "STEP_FAILURE"]
        assert run.code(step_key) == "timeout"
        assert "the run took longer than 1 s" in str(run.failure(step_key).step_failure_data.error)
    assert run.of_step("b") == []


def test_a_run_out_of_time_between_attempts_says_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no node works at the limit, the run itself fails with it."""
    monkeypatch.setattr(failures, "_SECONDS_BEFORE_RETRY", 60.0)
    nodes = [node("a", "source.numbers"), node("b", "transform.flaky", retries=3)]
    run = start(document(nodes, ("a", "b")), **{"dagster/max_runtime": "1"})
    (end,) = [event for event in run.events if event.is_job_failure]
    assert "RunTimeoutError" in causes_of(end.job_failure_data.error)
    assert run.status == "FAILURE"


def test_what_ends_within_the_limit_is_left_alone(start: Start) -> None:
    """A limit that is kept does nothing, nor does one that is no number."""
    for limit in ("60", "a day"):
        run = start(side_by_side(slow("b", seconds=0)), **{"dagster/max_runtime": limit}).finish()
        assert run.status == "SUCCESS"


def test_nodes_behind_a_failed_one_are_left_out(start: Start) -> None:
    """They don't start, which is told in a line that is no error; branches beside them are finished."""
    nodes = [
        node("a", "source.numbers"),
        node("b", "transform.flaky"),
        node("c", "keep", expression="n > 1"),
        node("out", "destination.collect", path="out.txt"),
        node("other", "destination.collect", path="other.txt"),
    ]
    run = start(document(nodes, ("a", "b"), ("b", "c"), ("c", "out"), ("a", "other"))).finish()
    assert run.status == "FAILURE"
    assert run.of_step("other")[-1] == "STEP_SUCCESS"
    assert run.of_step("c") == run.of_step("out") == []
    assert [line for line in run.lines() if line[0] in {"c", "out"}] == [
        ("c", 30, "Node not started: b failed"),
        ("out", 30, "Node not started: c did not start"),
    ]


def canceled(run: Execution, *step_keys: str) -> None:
    """Check that a run was canceled amid these steps, and that nothing came after them."""
    assert run.status == "CANCELED"
    for step_key in step_keys:
        assert run.of_step(step_key) == ["STEP_START", "STEP_FAILURE"]
        assert run.failure(step_key).step_failure_data.error_source == ErrorSource.INTERRUPT
    assert "STEP_START" not in run.of_step("after")


def test_a_cancelled_run_stops_all_its_nodes(start: Start, tmp_path: Path) -> None:
    """One in a query, one in a loop in Python: both end as interrupted, and what comes after them never starts."""
    nodes = [
        node("a", "source.numbers"),
        slow("query"),
        slow("loop", inside="python"),
        node("after", "keep", expression="n > 1"),
    ]
    run = start(document(nodes, ("a", "query"), ("a", "loop"), ("query", "after")), limit=2)
    run.cancel_when([tmp_path / "query.started", tmp_path / "loop.started"])
    began = time.monotonic()
    run.finish()
    assert time.monotonic() - began < PATIENCE
    canceled(run, "query", "loop")


def test_further_signals_change_nothing(start: Start, tmp_path: Path) -> None:
    """A run that is being stopped stops all the same while more signals arrive."""
    run = start(side_by_side(slow("query"), slow("loop", inside="python")), limit=2)
    run.cancel_when([tmp_path / "query.started", tmp_path / "loop.started"])
    for event in run.events:
        if event.is_step_failure:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
    canceled(run, "query", "loop")


def test_a_run_is_canceled_between_nodes(start: Start) -> None:
    """A signal that comes when no node works keeps the next from starting."""
    nodes = [node("a", "source.numbers"), node("after", "keep", expression="n > 1")]
    run = start(document(nodes, ("a", "after")))
    for event in run.events:
        if event.event_type_value == "STEP_SUCCESS":
            run.cancel()
    canceled(run)


def test_a_signal_before_the_first_node_counts(start: Start) -> None:
    """A run that is canceled while it begins starts nothing."""
    run = start(document([node("after", "source.numbers")]))
    for event in run.events:
        if event.event_type_value == "PIPELINE_START":
            run.cancel()
    canceled(run)


def test_a_canceled_destination_leaves_what_was_there(start: Start, tmp_path: Path) -> None:
    """In the midst of its writing, a destination is stopped and cleans up after itself."""
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "rows.csv"
    target.write_text("before")
    nodes = [node("a", "source.endless"), node("out", "destination.csv", path="out/rows.csv")]
    run = start(document(nodes, ("a", "out")))

    def cancel_amid_writing() -> None:
        while not any(file.stat().st_size for file in target.parent.glob(".*.part")):
            pass
        run.cancel()

    threading.Thread(target=cancel_amid_writing).start()
    run.finish()
    canceled(run, "out")
    assert target.read_text() == "before"
    assert list(target.parent.iterdir()) == [target]


def build_failing_job(folder: str) -> JobDefinition:
    """A job with a long query beside a bug."""
    nodes = [node("a", "source.numbers"), slow("query"), node("b", "transform.flaky", bug=True)]
    pipeline = document(nodes, ("a", "query"), ("a", "b"), executor={"maxParallelNodes": 2})
    return job_of(pipeline, folder=Path(folder))


def test_an_error_that_is_to_be_raised_stops_the_others(instance: DagsterInstance, tmp_path: Path) -> None:
    """Where a caller wants errors raised, nothing of the run goes on when it gets one."""
    recipe = build_reconstructable_job("tests.dagster_defs.test_executor", "build_failing_job", (str(tmp_path),))
    with pytest.raises(ZeroDivisionError):
        execute_job(recipe, instance, raise_on_error=True)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("node")]
    run = instance.get_runs(limit=1)[0]
    events = [record.dagster_event for record in instance.all_logs(run.run_id) if record.step_key == "query"]
    assert [event.event_type_value for event in events if event] in (["STEP_START", "STEP_FAILURE"], [])


def test_a_run_goes_on_in_any_thread(start: Start) -> None:
    """Outside the main thread no signal can be heard; all else is the same."""
    Meeting.barrier = threading.Barrier(2)
    run = start(meetings(2), limit=2)
    thread = threading.Thread(target=run.finish)
    thread.start()
    thread.join()
    assert run.status == "SUCCESS"


def test_events_are_those_of_dagsters_own_executor(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that succeeds, fails, tries again and leaves out tells the same, step by step, under either executor."""
    monkeypatch.setattr(failures, "_SECONDS_BEFORE_RETRY", 0.01)
    nodes = [
        node("a", "source.numbers"),
        node("again", "transform.flaky", retries=1),
        node("out", "destination.collect", path="out.txt"),
        node("fails", "transform.troubled", trouble="rule"),
        node("behind", "keep", expression="n > 1"),
    ]
    edges = [("a", "again"), ("again", "out"), ("a", "fails"), ("fails", "behind")]
    told = []
    for type_ in ("threads", "in_process"):
        run = start(document(nodes, *edges, name=type_, executor={"type": type_})).finish()
        stored = run.stored()
        steps = {node["id"]: run.of_step(node["id"]) for node in nodes}
        told.append((steps, Counter(type_ for type_, _ in stored), stored[0], stored[-1]))
        (tmp_path / "again.attempts").unlink()
    assert told[0] == told[1]
    assert told[0][0]["again"] == ["STEP_START", "STEP_UP_FOR_RETRY", "STEP_RESTARTED", "STEP_OUTPUT", "STEP_SUCCESS"]


def test_a_node_that_is_built_for_another_runs_once(start: Start, tmp_path: Path) -> None:
    """Where a node is missed by one that Dagster lets start at the same time, its source is still read once."""
    nodes = [node("a", "source.numbers"), slow("b", seconds=0.3), node("c", "keep", expression="n > 1")]
    run = start(document(nodes, ("a", "b"), ("b", "c")), chosen=["a", "c"], limit=2).finish()
    assert run.status == "SUCCESS"
    assert (tmp_path / "reads.txt").read_text() == "a\n"


@pytest.mark.parametrize(
    ("choice", "name"),
    [("threads", "planasonix_executor"), ("in_process", "in_process"), ("multiprocess", "multiprocess")],
)
def test_an_executor_is_named(choice: ExecutorType, name: str, tmp_path: Path) -> None:
    """Each choice that a document has is an executor."""
    assert build_executor(choice, settings=settings_of(tmp_path), max_parallel_nodes=3).name == name
