"""Runs of jobs: rows flow, figures are reported, errors are told."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance

from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.contract.slices import SLICE_VARIABLES, format_moment, slice_tags, slice_values
from planasonix_orchestrator.contract.tags import PIPELINE_VERSION
from tests.dagster_defs.pipelines import (
    Document,
    causes_of,
    document,
    events_of,
    execute,
    failure_of,
    job_of,
    log_of,
    metadata_of,
    node,
)

DAY = timedelta(days=1)
CHAIN = document(
    [
        node("load-data", "source.numbers", rows="{{ rows }}", label="x"),
        node("in", "keep", expression="n >= 7"),
        node("config", "destination.collect", path="../out/day.txt"),
        node("alone", "source.numbers", rows=1),
    ],
    ("load-data", "in"),
    ("in", "config"),
    variables={"rows": {"type": "integer", "default": 10}},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipelines folder with room beside it."""
    (tmp_path / "pipelines").mkdir()
    return tmp_path / "pipelines"


def test_rows_flow_from_node_to_node(folder: Path) -> None:
    """What a source reads arrives at the destination through the nodes between."""
    assert execute(job_of(CHAIN, folder=folder)).success
    lines = (folder.parent / "out" / "day.txt").read_text().splitlines()
    assert lines == [str({"n": n, "label": "x"}) for n in (7, 8, 9)]


def test_every_node_reports_its_figures(folder: Path) -> None:
    """Rows and bytes stand on each op's output under the names of the contract, as integers."""
    result = execute(job_of(CHAIN, folder=folder))
    read, kept, written = (metadata_of(result, name) for name in ("load_x2d_data", "in_", "config_"))
    assert (read[metadata.ROWS_OUT], read[metadata.BYTES_READ], read["dagster/row_count"]) == (10, 80, 10)
    assert (kept[metadata.ROWS_IN], kept[metadata.ROWS_OUT]) == (10, 3)
    assert written[metadata.ROWS_IN] == 3
    assert written[metadata.BYTES_WRITTEN] == (folder.parent / "out" / "day.txt").stat().st_size
    assert metadata.ROWS_OUT not in written
    columns = kept["dagster/column_schema"].columns
    assert [(column.name, column.type) for column in columns] == [("n", "BIGINT"), ("label", "VARCHAR")]


def test_a_destination_materialises_an_asset(folder: Path) -> None:
    """What a destination wrote shows as an asset with rows, bytes and columns, named alike on every machine."""
    result = execute(job_of(CHAIN, folder=folder))
    (event,) = events_of(result, "ASSET_MATERIALIZATION")
    assert event.step_key == "config_"
    assert event.asset_key == AssetKey(["out", "day.txt"])
    values = {key: value.value for key, value in event.materialization.metadata.items()}
    assert values["dagster/row_count"] == 3
    assert values["lines"] == 3
    assert values["target"] == str(folder / "../out/day.txt")


def test_nodes_log_to_the_event_log(folder: Path) -> None:
    """Each node's line stands in Dagster's event log under its own step."""
    with DagsterInstance.ephemeral() as instance:
        result = execute(job_of(CHAIN, folder=folder), instance=instance)
        lines = dict(log_of(instance, result.run_id))
    assert lines["load_x2d_data"] == "Read 10 rows (80 bytes)"
    assert lines["in_"] == "Made 3 rows of 10 rows"
    assert lines["config_"].startswith("Wrote 3 rows to ")
    assert lines["alone"] == "Read 1 row (8 bytes)"


def test_a_run_sets_variables(folder: Path) -> None:
    """The variables of a run stand in its config; what it leaves out has the default."""
    given = {"resources": {"variables": {"config": {"rows": 8}}}}
    result = execute(job_of(CHAIN, folder=folder), run_config=given)
    assert metadata_of(result, "load_x2d_data")[metadata.ROWS_OUT] == 8
    assert metadata_of(result, "in_")[metadata.ROWS_OUT] == 1


@pytest.mark.parametrize("name", SLICE_VARIABLES)
def test_a_run_knows_the_slice_that_it_is_for(folder: Path, name: str) -> None:
    """Its tags say it, and config strings insert it undeclared."""
    due = datetime(2025, 3, 30, 22, 30, tzinfo=UTC)
    tags = slice_tags(due, previous=due - DAY, following=due + DAY, timezone="Europe/Berlin")
    values = slice_values(tags)
    assert values is not None
    assert rows_where(f"'{{{{ {name} }}}}' = '{values[name]}'", folder=folder, tags=tags) == 4


def test_a_run_without_a_slice_is_for_the_moment_of_its_creation(folder: Path) -> None:
    """A retry is for that of the run that it retries, so that it writes to the same place."""
    before = format_moment(datetime.now(UTC))
    same = "'{{ scheduled_at }}' = '{{ next_scheduled_at }}' AND '{{ ds }}' = left('{{ previous_scheduled_at }}', 10)"
    assert rows_where(f"{same} AND '{{{{ scheduled_at }}}}' >= '{before}'", folder=folder) == 4


def test_a_declared_variable_of_the_same_name_wins(folder: Path) -> None:
    """Pipelines that had a variable of their own keep it."""
    assert rows_where("'{{ ds }}' = 'mine'", folder=folder, variables={"ds": {"default": "mine"}}) == 4


def rows_where(expression: str, *, folder: Path, tags: dict[str, str] | None = None, **more: Any) -> int:
    """How many of four rows a filter lets through."""
    nodes = [node("a", "source.numbers", rows=4), node("b", "transform.keep", expression=expression)]
    result = execute(job_of(document(nodes, ("a", "b"), **more), folder=folder), tags=tags)
    assert result.success
    rows: int = metadata_of(result, "b")[metadata.ROWS_OUT]
    return rows


def test_a_run_may_change_a_nodes_config(folder: Path) -> None:
    """What the launchpad says about a node wins over the document, for this run."""
    given = {"ops": {"in_": {"config": {"expression": "n = 0"}}}}
    assert metadata_of(execute(job_of(CHAIN, folder=folder), run_config=given), "in_")[metadata.ROWS_OUT] == 1


def test_ports_and_edge_order_reach_the_node(folder: Path) -> None:
    """Many edges on one port arrive in the order of the document, an optional port may stay unwired."""
    nodes = [
        node("b", "source.numbers", rows=1),
        node("a", "source.numbers", rows=2),
        node("s", "transform.stack"),
        node("extra", "source.numbers", rows=4),
        node("t", "transform.stack"),
        node("out", "destination.collect", path="out.txt"),
    ]
    edges = [("b", "s", "input"), ("a", "s", "input"), ("s", "t", "input"), ("extra", "t", "extra"), ("t", "out")]
    result = execute(job_of(document(nodes, *edges), folder=folder))
    assert result.success
    assert metadata_of(result, "s")[metadata.ROWS_OUT] == 3
    assert metadata_of(result, "t")[metadata.ROWS_IN] == 7
    assert "'label': 's,extra'" in (folder / "out.txt").read_text()


@pytest.mark.stack
def test_a_chain_of_500_nodes_runs(folder: Path) -> None:
    """However deep a graph is, its last node gets its rows."""
    nodes = [node("n0", "source.numbers", rows=3), *(node(f"n{i}", "keep", expression="n > 0") for i in range(1, 500))]
    result = execute(job_of(document(nodes, *((f"n{i}", f"n{i + 1}") for i in range(499))), folder=folder))
    assert len(events_of(result, "STEP_SUCCESS")) == 500
    assert metadata_of(result, "n499")[metadata.ROWS_OUT] == 2


@pytest.mark.stack
def test_a_fan_of_100_nodes_runs_beside_100_isolated_ones(folder: Path) -> None:
    """However wide a graph is, every node runs."""
    fan = [node(f"f{i}", "keep", expression="n > 0") for i in range(99)]
    isolated = [node(f"i{i}", "source.numbers", rows=2) for i in range(100)]
    nodes = [node("n", "source.numbers", rows=3), *fan, *isolated]
    result = execute(job_of(document(nodes, *(("n", each["id"]) for each in fan)), folder=folder))
    assert len(events_of(result, "STEP_SUCCESS")) == 200
    assert metadata_of(result, "f98")[metadata.ROWS_OUT] == 2


def test_the_run_leaves_no_spill_folder(folder: Path) -> None:
    """The session of a run is closed at its end, also when it failed."""
    nodes = [node("a", "source.numbers"), node("b", "keep", expression="n / 0 > nonsense(n)")]
    for pipeline in (CHAIN, document(nodes[:1], name="other")):
        execute(job_of(pipeline, folder=folder))
    spill = folder / ".state" / "spill"
    assert list(spill.iterdir()) == []


def pipeline_with(*, retries: int = 0, type_: str = "transform.flaky", **config: Any) -> Document:
    """A source, a node to be tested, and a destination."""
    nodes = [
        node("a", "source.numbers", rows="{{ rows }}"),
        node("b", type_, retries=retries, **config),
        node("c", "destination.collect", path="out.txt"),
    ]
    return document(nodes, ("a", "b"), ("b", "c"), variables={"rows": {"type": "string", "default": "3"}})


def test_a_nodes_error_is_told_in_its_own_words(folder: Path) -> None:
    """The event log shows the node's message and hint, and nothing downstream runs."""
    result = execute(job_of(pipeline_with(), folder=folder))
    assert not result.success
    assert "the server is away (try again later)" in failure_of(result, "b")
    assert {event.step_key for event in events_of(result, "STEP_START")} == {"a", "b"}


def test_a_bug_in_a_node_keeps_its_traceback(folder: Path) -> None:
    """An error that no node foresaw is reported as Python raised it."""
    result = execute(job_of(pipeline_with(bug=True), folder=folder))
    (event,) = events_of(result, "STEP_FAILURE")
    assert "ZeroDivisionError: one by nought" in causes_of(event.step_failure_data.error)


def test_a_failed_attempt_is_tried_again(folder: Path) -> None:
    """With `retries`, a node that fails once runs again in the same run and passes its rows on."""
    result = execute(job_of(pipeline_with(retries=1), folder=folder))
    assert result.success
    assert len(events_of(result, "STEP_RESTARTED", "b")) == 1
    assert metadata_of(result, "c")[metadata.ROWS_IN] == 3


def test_a_wrong_config_is_not_tried_again(folder: Path) -> None:
    """A config that is wrong with this run's variables names node and field, and no retry is wasted on it."""
    nodes = [node("a", "source.numbers", retries=3, rows="{{ rows }}", order="{{ order }}")]
    variables = {"rows": {"type": "string", "default": "many"}, "order": {"default": "sideways"}}
    result = execute(job_of(document(nodes, variables=variables), folder=folder))
    message = failure_of(result, "a")
    assert "config of node 'a': rows: Input should be a valid integer" in message
    assert "'many'" in message
    assert "order: Input should be 'up' or 'down'" in message
    assert not events_of(result, "STEP_UP_FOR_RETRY")


def test_wrong_variables_stop_a_run_before_any_node(folder: Path) -> None:
    """Missing and badly typed variables are all told at once, and no node starts."""
    variables = {"since": {"type": "date", "required": True}, "day": {"type": "date", "default": "2013-01-01"}}
    pipeline = document([node("a", "source.numbers", label="{{ since }}{{ day }}")], variables=variables)
    given = {"resources": {"variables": {"config": {"day": "yesterday"}}}}
    result = execute(job_of(pipeline, folder=folder), run_config=given)
    (event,) = events_of(result, "PIPELINE_FAILURE")
    assert "variable 'since': must be set (date)" in causes_of(event.job_failure_data.error)
    assert "variable 'day': " in causes_of(event.job_failure_data.error)
    assert not events_of(result, "STEP_START")


def test_a_run_is_recorded_in_postgres(folder: Path, postgres_url: str, tmp_path: Path) -> None:
    """On Postgres storage, run, tags, config and every event of a run are there to be read afterwards."""
    config = {
        "storage": {"postgres": {"postgres_url": postgres_url}},
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(tmp_path)},
        },
    }
    (tmp_path / "dagster.yaml").write_text(json.dumps(config))
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        result = execute(job_of(CHAIN, folder=folder), instance=instance)
        assert result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags["planasonix/pipeline_id"] == "pl_numbers"
        assert instance.has_asset_key(AssetKey(["out", "day.txt"]))
        assert ("alone", "Read 1 row (8 bytes)") in log_of(instance, result.run_id)


def test_a_run_says_which_document_it_executes(folder: Path) -> None:
    """A run that was queued before its document was edited carries the version that it really ran."""
    job = job_of(CHAIN, folder=folder)
    instance = DagsterInstance.ephemeral()
    result = execute(job, instance=instance, tags={PIPELINE_VERSION: "0123456789abcdef"})
    run = instance.get_run_by_id(result.run_id)
    assert result.success
    assert run is not None
    assert run.tags[PIPELINE_VERSION] == job.tags[PIPELINE_VERSION]
