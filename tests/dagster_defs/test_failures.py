"""What the event log says of a failed node, in the JSON that the API reads: its code, and the node at fault."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, RetryRequested
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import select

from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.dagster_defs.failures import build_failure, raise_failure
from planasonix_orchestrator.errors import (
    NodeError,
    NodePolicyError,
    TerminalNodeError,
    UpstreamNodeError,
)
from planasonix_orchestrator.nodes.transforms.select import Select
from tests.dagster_defs.nodes import build_catalog
from tests.dagster_defs.pipelines import Document, document, execute, job_of, node

pytestmark = pytest.mark.stack  # they work for seconds

LITTLE_MEMORY = {"resources": {"session": {"config": {"memoryLimit": "20MB", "threads": 1}}}}

KINDS = [
    ("node_error", node("b", "transform.flaky", failures=9, retries=1), "the server is away (try again later)"),
    ("timeout", node("b", "transform.slow", seconds=60, timeout=0.2, retries=1), "stopped after 0.2 s, its timeout"),
    ("out_of_memory", node("b", "transform.troubled", trouble="engine memory", retries=1), "out of memory: failed to "),
    ("out_of_memory", node("b", "transform.troubled", trouble="python memory", retries=1), "out of memory (raise mem"),
    ("policy", node("b", "transform.troubled", trouble="rule", retries=1), "2 of 10 rows break the rule n > 1 (see t"),
]


@pytest.fixture(scope="module")
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


Events = dict[str, list[Any]]


def stored(instance: DagsterInstance, pipeline: Document, *, folder: Path, **options: Any) -> Events:
    """Run a pipeline on a Dagster storage and return what is written there: event-specific data by event type."""
    job = job_of(pipeline, folder=folder, catalog=build_catalog(Select()))
    run_id = execute(job, instance=instance, **options).run_id
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.run_connection(run_id) as connection:
        table = SqlEventLogStorageTable
        texts = connection.execute(select(table.c.event).where(table.c.run_id == run_id).order_by(table.c.id)).scalars()
        events = [event for text in texts if (event := json.loads(text)["dagster_event"])]
    data: Events = {}
    for event in events:
        data.setdefault(event["event_type_value"], []).append(event["event_specific_data"])
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A run that failed in a known way after one more attempt, if another attempt was made."""

    code: str
    message: str
    events: Events


@pytest.fixture(scope="module", params=KINDS, ids=[message for _, _, message in KINDS])
def failed(
    request: pytest.FixtureRequest, instance: DagsterInstance, tmp_path_factory: pytest.TempPathFactory
) -> Failed:
    code, failing, message = request.param
    pipeline = document([node("a", "source.numbers"), failing], ("a", "b"))
    events = stored(instance, pipeline, folder=tmp_path_factory.mktemp("failed"), run_config=LITTLE_MEMORY)
    return Failed(code=code, message=message, events=events)


def facts(failure: Any) -> dict[str, str]:
    """The words in the metadata of a STEP_FAILURE, by label."""
    entries = failure["user_failure_data"]["metadata_entries"]
    return {entry["label"]: entry["entry_data"]["text"] for entry in entries if "text" in entry["entry_data"]}


def test_a_failed_node_tells_its_code(failed: Failed) -> None:
    """The last attempt has code and message as data, in its own event and in that of the run's failure."""
    (failure,) = failed.events["STEP_FAILURE"]
    assert facts(failure) == {metadata.ERROR_CODE: failed.code}
    assert failure["user_failure_data"]["description"].startswith(failed.message)
    (run,) = failed.events["PIPELINE_FAILURE"]
    assert run["first_step_failure_event"]["event_specific_data"] == failure


def test_an_attempt_that_is_not_the_last_tells_it_too(failed: Failed) -> None:
    """An attempt that is tried again has its code in the class of the failure; a refusal by a rule is the last."""
    retried = failed.events.get("STEP_UP_FOR_RETRY", [])
    causes = [retry["error"]["cause"] for retry in retried]
    codes = [metadata.ERROR_CLASSES[cause["cls_name"]] for cause in causes]
    assert codes == ([] if failed.code == "policy" else [failed.code])
    assert all(failed.message in cause["message"] for cause in causes)
    (failure,) = failed.events["STEP_FAILURE"]
    assert metadata.ERROR_CLASSES[failure["error"]["cls_name"]] == failed.code


def test_a_failed_node_tells_its_cost(instance: DagsterInstance, tmp_path: Path) -> None:
    """Also work that came to nothing took time of the CPU, and memory."""
    pipeline = document([node("a", "source.numbers"), node("b", "transform.flaky", failures=9)], ("a", "b"))
    (failure,) = stored(instance, pipeline, folder=tmp_path)["STEP_FAILURE"]
    entries = failure["user_failure_data"]["metadata_entries"]
    costs = {entry["label"]: entry["entry_data"]["value"] for entry in entries if "value" in entry["entry_data"]}
    assert costs.keys() == {metadata.CPU_SECONDS, metadata.PEAK_MEMORY_BYTES}
    assert costs[metadata.CPU_SECONDS] > 0
    assert costs[metadata.PEAK_MEMORY_BYTES] > 1_000_000


def test_a_node_that_reads_anothers_bad_rows_names_it(instance: DagsterInstance, tmp_path: Path) -> None:
    """Rows that a lazy node computes are that node's fault, wherever they are read."""
    cast = {"name": "n", "expression": "CAST('x' || n AS INTEGER)"}
    nodes = [
        node("a", "source.numbers"),
        node("bad", "transform.select", columns=[cast]),
        node("out", "destination.collect", path="out.txt"),
    ]
    events = stored(instance, document(nodes, ("a", "bad"), ("bad", "out")), folder=tmp_path)
    (failure,) = events["STEP_FAILURE"]
    assert facts(failure) == {metadata.ERROR_CODE: "node_error", metadata.ERROR_NODE: "bad"}
    assert failure["user_failure_data"]["description"].startswith("node 'bad': Conversion Error")


@pytest.mark.parametrize(("code", "failing", "message"), KINDS[:1] + KINDS[-1:])
def test_a_node_that_is_built_again_is_named(
    code: str, failing: Document, message: str, instance: DagsterInstance, tmp_path: Path
) -> None:
    """When a part of a job runs, the fault of a node that is built again for it is that node's, whatever its kind."""
    nodes = [node("a", "source.numbers"), failing, node("out", "destination.collect", path="out.txt")]
    pipeline = document(nodes, ("a", "b"), ("b", "out"))
    events = stored(instance, pipeline, folder=tmp_path, op_selection=["out"])
    (failure,) = events["STEP_FAILURE"]
    assert facts(failure) == {metadata.ERROR_CODE: code, metadata.ERROR_NODE: "b"}
    assert failure["user_failure_data"]["description"].startswith(f"node 'b': {message}")


def test_a_bug_has_no_code(instance: DagsterInstance, tmp_path: Path) -> None:
    """What no node foresaw is no failure of Dagster's: it has neither code nor message as data."""
    pipeline = document([node("a", "source.numbers"), node("b", "transform.flaky", bug=True)], ("a", "b"))
    (failure,) = stored(instance, pipeline, folder=tmp_path)["STEP_FAILURE"]
    assert failure["user_failure_data"] is None
    assert failure["error"]["cause"]["cls_name"] == "ZeroDivisionError"


def test_a_bug_is_tried_again(instance: DagsterInstance, tmp_path: Path) -> None:
    """Retries count for errors that no node foresaw, too."""
    pipeline = document([node("a", "source.numbers"), node("b", "transform.flaky", bug=True, retries=1)], ("a", "b"))
    events = stored(instance, pipeline, folder=tmp_path)
    assert "STEP_FAILURE" not in events
    assert [retry["error"]["cause"]["cls_name"] for retry in events["STEP_UP_FOR_RETRY"]] == ["ZeroDivisionError"]


def test_each_wait_is_twice_the_one_before() -> None:
    """A node is tried again after 1 s, 2 s, 4 s ..., at most a minute."""
    waits = []
    for attempt in range(8):
        with pytest.raises(RetryRequested) as caught:
            raise_failure(NodeError("the server is away"), retries=8, attempt=attempt)
        waits.append(caught.value.seconds_to_wait)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("error", [TerminalNodeError("no"), UpstreamNodeError("a", fault=NodePolicyError("no"))])
def test_what_every_attempt_would_meet_is_not_tried_again(error: NodeError) -> None:
    """A terminal error, the node's own or that of one upstream, is a failure at once."""
    with pytest.raises(type(build_failure(error))):
        raise_failure(error, retries=3, attempt=0)
