"""What a line says: the words of nodes as they were logged, milestones in plain ones, and none of Dagster's noise."""

import dagster as dg
import pytest

from api_adapter.storage import LogFilter, LogLine, Storage
from planasonix_orchestrator.contract.names import encode_name


@dg.op(ins={"start": dg.In(dg.Nothing)})
def talk(context: dg.OpExecutionContext) -> None:
    context.log.info("two\nlines and %s", "an argument")
    context.log.warning("mind the gap")
    context.log.info("Dependencies for step are ours to talk about")
    try:
        context.log.debug("%d", 1 // 0)
    except ZeroDivisionError:
        context.log.exception("it went wrong")


@dg.op(out={"left": dg.Out(int, is_required=False), "right": dg.Out(int, is_required=False)})
def choose() -> object:
    yield dg.Output(1, "left")


@dg.op
def take(value: int) -> int:
    return value


@dg.op
def fail() -> int:
    raise dg.Failure("out of\nluck")


@dg.op
def combine(one: int, other: int) -> int:
    return one + other


@dg.job(executor_def=dg.in_process_executor)
def talkative() -> None:
    talk()


@dg.job(executor_def=dg.in_process_executor)
def branching() -> None:
    left, right = choose()
    take.alias("after_left")(left)
    take.alias("last_x21_")(take.alias("after_right")(right))


@dg.job(executor_def=dg.in_process_executor)
def breaking() -> None:
    bad = fail()
    after = take.alias(encode_name("after-all"))(bad)
    combine(after, fail.alias("also_bad")())


def told(storage: Storage, run_id: str, *, level: str = "info") -> list[LogLine]:
    page = storage.read_log(run_id, limit=10_000, filter_by=LogFilter(level=level))  # type: ignore[arg-type]
    assert page is not None
    return list(page.lines)


def run(job: dg.JobDefinition, *, instance: dg.DagsterInstance) -> str:
    return job.execute_in_process(instance=instance, raise_on_error=False).run_id


def words(lines: list[LogLine], *, node_id: str | None) -> list[tuple[str, str]]:
    return [(line.level, line.message) for line in lines if line.node_id == node_id]


def test_messages_of_nodes_come_as_they_were_logged(instance: dg.DagsterInstance, storage: Storage) -> None:
    """Without Dagster's prefix of job, run and step, with arguments filled in, all lines of a message in one."""
    lines = told(storage, run(talkative, instance=instance))
    assert words(lines, node_id="talk") == [
        ("info", "Node started"),
        ("info", "two\nlines and an argument"),
        ("warning", "mind the gap"),
        ("info", "Dependencies for step are ours to talk about"),
        ("error", "it went wrong"),
        ("info", "Node succeeded"),
    ]


def test_what_dagster_says_of_skipped_nodes_is_noise(instance: dg.DagsterInstance, storage: Storage) -> None:
    """A node whose inputs were not made was skipped: said once, in our words."""
    lines = told(storage, run(branching, instance=instance))
    assert words(lines, node_id="after_right") == [("info", "Node skipped")]
    assert words(lines, node_id="last!") == [("info", "Node skipped")]
    assert words(lines, node_id="choose") == [("info", "Node started"), ("info", "Node succeeded")]


def test_nodes_after_a_failed_one_say_why_they_did_not_start(instance: dg.DagsterInstance, storage: Storage) -> None:
    """Dagster's own words for that are told anew, with the names of nodes as users gave them."""
    lines = told(storage, run(breaking, instance=instance))
    assert words(lines, node_id="after-all") == [("warning", "Node not started: fail failed")]
    assert words(lines, node_id="combine") == [
        ("warning", "Node not started: also_bad failed and after-all did not start")
    ]
    assert ("error", "Node failed: out of\nluck") in words(lines, node_id="fail")
    assert words(lines, node_id=None)[-1][1].startswith("Run failed")
    assert not [line for line in lines if "Not executing" in line.message]


@pytest.mark.parametrize("job", [talkative, branching, breaking])
def test_debug_tells_all(job: dg.JobDefinition, instance: dg.DagsterInstance, storage: Storage) -> None:
    """With `level=debug` every event with a message is a line, and those of `info` are among them as they are."""
    run_id = run(job, instance=instance)
    everything = told(storage, run_id, level="debug")
    events = instance.all_logs(run_id)
    assert len(everything) == len([event for event in events if event.message or event.user_message])
    assert [line for line in everything if line.level != "debug"] == told(storage, run_id)
    assert [line.time.timestamp() for line in everything] == pytest.approx([event.timestamp for event in events])
