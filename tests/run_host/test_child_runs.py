"""Nodes that start runs of other pipelines: once, waited for or not, canceled with their run, with no deadlock."""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from dagster import DagsterRun

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import encode_run_id
from planasonix_orchestrator.contract.pipelines import no_environments
from planasonix_orchestrator.dagster_defs.child_runs import ChildRuns
from planasonix_orchestrator.dagster_defs.pipeline_run import Surroundings
from planasonix_orchestrator.dagster_defs.repository import installed
from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.pipelines import PipelineOrder
from tests.run_host.hosted import Hosted, hosted, pipeline

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, module_postgres_url: str) -> Iterator[Hosted]:
    """A host that executes one run at a time: who waits for another one must give way to it."""
    folder = tmp_path_factory.mktemp("host")
    with hosted(folder, postgres_url=module_postgres_url, max_concurrent_runs=1, warm_workers=2) as one:
        yield one


def parent(name: str, *, child: str, **config: Any) -> dict[str, Any]:
    """A pipeline that starts another one, and writes the rows behind it into `<name>.csv`."""
    start = {"id": "n_start", "type": "trigger_pipeline", "config": {"pipelineId": f"pl_{child}", **config}}
    sink = {"id": "n_sink", "type": "destination.csv", "config": {"path": f"{name}.csv"}}
    edges = [{"source": "n_work", "target": "n_start"}, {"source": "n_start", "target": "n_sink"}]
    document = pipeline(name, rows=3)
    return {**document, "nodes": [*document["nodes"], start, sink], "edges": edges}


def define(host: Hosted, document: Mapping[str, Any]) -> None:
    """Put a pipeline into the folder."""
    (host.settings.pipelines / f"{document['name']}.json").write_text(json.dumps(document))


def children(host: Hosted, run_id: str) -> list[DagsterRun]:
    """The runs that a run has started."""
    runs = [run for run in host.instance.get_runs() if run.tags.get(tags.UPSTREAM_RUN) == run_id]
    return sorted(runs, key=lambda run: run.tags[tags.EVENT_SUMMARY])


def messages(host: Hosted, run_id: str) -> str:
    """All that a run's log says, errors included."""
    return "\n".join(entry.to_json() for entry in host.instance.all_logs(run_id))


def test_a_node_waits_for_the_run_that_it_starts(host: Hosted) -> None:
    """Though there is place for one run only; the rows go on unchanged, and both runs name each other."""
    variables = {"day": {"type": "date"}, "n": {"type": "integer", "default": 1}}
    define(host, {**pipeline("child", note="notes.txt"), "variables": variables})
    run_id = host.submit(
        parent("waits", child="child", variables={"day": "2025-03-31", "n": "{{ number }}"})
        | {"variables": {"number": {"default": "7"}}}
    )
    assert host.until(run_id) == "SUCCESS", host.story(run_id)
    (child,) = children(host, run_id)
    assert host.status(child.run_id) == "SUCCESS"
    config: Mapping[str, Any] = child.run_config
    assert config["resources"]["variables"]["config"] == {"day": "2025-03-31", "n": 7}
    assert child.tags[tags.TRIGGER] == "sensor"
    assert child.tags[tags.EVENT_SUMMARY] == "node n_start of pl_waits"
    assert child.tags[tags.PIPELINE_ID] == "pl_child"
    assert f"Started run {encode_run_id(child.run_id)} of pl_child" in messages(host, run_id)
    assert len((host.settings.pipelines / "waits.csv").read_text().splitlines()) == 4


def test_chains_of_waiting_runs_come_to_their_end(host: Hosted) -> None:
    """Several, each of which waits for one that waits for a third, all with one place."""
    define(host, pipeline("last"))
    define(host, parent("middle", child="last"))
    run_ids = [host.submit(parent("first", child="middle")) for _ in range(3)]
    for run_id in run_ids:
        assert host.until(run_id) == "SUCCESS", host.story(run_id)


def test_what_is_not_waited_for_goes_on_by_itself(host: Hosted) -> None:
    """The run ends without it."""
    define(host, pipeline("later"))
    run_id = host.submit(parent("goes_on", child="later", wait=False))
    assert host.until(run_id) == "SUCCESS", host.story(run_id)
    (child,) = children(host, run_id)
    assert tags.WAITED_BY not in child.tags
    assert host.until(child.run_id) == "SUCCESS"


@pytest.mark.parametrize(("on_failure", "status"), [("fail", "FAILURE"), ("continue", "SUCCESS")])
def test_a_failure_is_told_and_may_be_borne(host: Hosted, on_failure: str, status: str) -> None:
    """With the id of the run that has failed."""
    (host.settings.pipelines / "gate.txt").write_text("closed")
    define(host, pipeline("fails", gate="gate.txt"))
    run_id = host.submit(parent(f"may_{on_failure}", child="fails", onFailure=on_failure))
    assert host.until(run_id) == status, host.story(run_id)
    (child,) = children(host, run_id)
    assert f"run {encode_run_id(child.run_id)} of pl_fails failed" in messages(host, run_id)


def test_a_canceled_run_cancels_what_it_waits_for(host: Hosted) -> None:
    """Both end as canceled; the child says which run has done it."""
    define(host, pipeline("endless", kind="loop", note="notes.txt"))
    run_id = host.submit(parent("stops", child="endless"))
    host.until(run_id, "STARTED")
    while not children(host, run_id) or host.status(children(host, run_id)[0].run_id) != "STARTED":
        assert host.status(run_id) == "STARTED", host.story(run_id)
    assert host.cancel(run_id)
    assert host.until(run_id) == "CANCELED", host.story(run_id)
    (child,) = children(host, run_id)
    assert host.until(child.run_id) == "CANCELED"
    (child,) = children(host, run_id)
    assert child.tags[tags.CANCEL_REQUESTED_BY] == f"run {encode_run_id(run_id)}"
    assert child.tags[tags.CANCELED_BY] == "system"


def test_who_has_waited_long_enough_cancels_it(host: Hosted) -> None:
    """And has failed."""
    define(host, pipeline("slow", kind="loop"))
    run_id = host.submit(parent("impatient", child="slow", timeoutSeconds=0.5))
    assert host.until(run_id) == "FAILURE", host.story(run_id)
    assert "of pl_slow took longer than 0.5 s, the node's timeoutSeconds, and was canceled" in messages(host, run_id)
    assert host.until(children(host, run_id)[0].run_id) == "CANCELED"


@pytest.mark.parametrize(
    ("child", "config", "told"),
    [
        ("nobody", {}, "pipeline 'pl_nobody' can't be started: it is not there, or has problems"),
        ("needs", {}, "pipeline 'pl_needs' can't be started: variable 'day': must be set"),
        ("needs", {"variables": {"dya": "x"}}, "variable 'dya': the pipeline declares no such variable"),
        ("needs", {"environmentId": "prod", "variables": {"day": "2025-01-01"}}, "environment 'prod' does not exist"),
    ],
)
def test_what_can_not_be_started_is_told(host: Hosted, child: str, config: dict[str, Any], told: str) -> None:
    """The node fails, with the name of what is wrong."""
    define(host, {**pipeline("needs"), "variables": {"day": {"type": "date"}}})
    run_id = host.submit(parent("in_vain", child=child, **config))
    assert host.until(run_id) == "FAILURE", host.story(run_id)
    assert told in messages(host, run_id)
    assert children(host, run_id) == []


def test_another_attempt_finds_what_the_first_has_started(host: Hosted) -> None:
    """Also a new one where the other has failed, if the node can't go on without a success."""
    define(host, pipeline("once", kind="sleep"))
    run = host.create(pipeline("asks"))
    catalog, _ = installed()
    surroundings = Surroundings(
        catalog=catalog,
        connections=Connections({}, environment={}),
        base=host.settings.pipelines,
        environments=no_environments(),
    )
    starting = ChildRuns(host.instance, parent=run, surroundings=surroundings, settings=host.settings)

    def start(*, again: bool) -> str:
        order = PipelineOrder(
            node_id="n",
            pipeline_id="pl_once",
            variables={},
            environment_id=None,
            wait=False,
            timeout_seconds=None,
            again=again,
        )
        return starting.run(order, log=logging.getLogger("test")).id

    first = start(again=True)
    assert start(again=True) == first
    (child,) = children(host, run.run_id)
    host.cancel(child.run_id)
    assert host.until(child.run_id) == "CANCELED"
    assert start(again=False) == first
    second = start(again=True)
    assert second != first
    assert start(again=True) == second
    for each in children(host, run.run_id):
        host.cancel(each.run_id)
        assert host.until(each.run_id) == "CANCELED"
    (host.settings.pipelines / "once.json").unlink()
    with pytest.raises(NodeError, match="'pl_once' can't be started"):
        start(again=True)
