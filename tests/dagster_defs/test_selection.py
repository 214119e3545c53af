"""Runs of a part of a job: a selection of ops, a re-execution from failure. What is missing is built again."""

from pathlib import Path

import pytest
from dagster import DagsterInstance, JobDefinition, ReexecutionOptions, build_reconstructable_job, execute_job

from planasonix_orchestrator.contract import metadata
from tests.dagster_defs.pipelines import document, events_of, execute, job_of, log_of, metadata_of, node

PIPELINE = document(
    [
        node("n_source", "source.numbers", rows="{{ rows }}"),
        node("in", "keep", expression="n > 5"),
        node("flaky", "transform.flaky"),
        node("out", "destination.collect", path="out.txt"),
        node("other", "destination.collect", path="other.txt"),
    ],
    ("n_source", "in"),
    ("in", "flaky"),
    ("flaky", "out"),
    ("n_source", "other"),
    variables={"rows": {"type": "integer", "default": 10}},
)
RUN_CONFIG = {
    "ops": {"in_": {"config": {"expression": "n > 17"}}},
    "resources": {"variables": {"config": {"rows": 20}}},
}


def build(folder: str) -> JobDefinition:
    """The job, for a worker that knows only this function's name."""
    return job_of(PIPELINE, folder=Path(folder))


def test_selected_ops_get_rows_of_ops_that_are_not_selected(tmp_path: Path) -> None:
    """A lone destination gets the rows that its upstream nodes would have made, with their figures."""
    (tmp_path / "flaky.attempts").write_text(".")
    with DagsterInstance.ephemeral() as instance:
        result = execute(build(str(tmp_path)), op_selection=["out"], instance=instance)
        lines = log_of(instance, result.run_id)
    assert result.success
    assert {event.step_key for event in events_of(result, "STEP_START")} == {"out"}
    assert metadata_of(result, "out")[metadata.ROWS_IN] == 4
    assert [text for _, text in lines][:3] == [
        f"Building {name} again: it is not part of this run" for name in ("n_source", "in", "flaky")
    ]


def test_what_is_built_again_follows_the_runs_config(tmp_path: Path) -> None:
    """Variables and changed configs of the run count for nodes that are not selected, too."""
    (tmp_path / "flaky.attempts").write_text(".")
    result = execute(build(str(tmp_path)), op_selection=["out"], run_config=RUN_CONFIG)
    assert metadata_of(result, "out")[metadata.ROWS_IN] == 2


def test_only_what_is_missing_is_built_again_and_once(tmp_path: Path) -> None:
    """Two selected ops over one source that is not selected read it once; the others' branch isn't touched."""
    result = execute(build(str(tmp_path)), op_selection=["in_", "other"])
    assert result.success
    assert (tmp_path / "reads.txt").read_text() == "n_source\n"
    assert not (tmp_path / "flaky.attempts").exists()


@pytest.mark.parametrize("run_config", [{}, RUN_CONFIG])
def test_a_run_is_taken_up_from_its_failure(tmp_path: Path, run_config: dict[str, object]) -> None:
    """A re-execution from failure runs the failed node and those after it, on the rows of the first run's config."""
    recipe = build_reconstructable_job("tests.dagster_defs.test_selection", "build", (str(tmp_path),))
    with DagsterInstance.ephemeral() as instance:
        first = execute_job(recipe, instance, run_config=run_config)
        assert not first.success
        options = ReexecutionOptions.from_failure(first.run_id, instance)
        second = execute_job(recipe, instance, reexecution_options=options)
        started = {event.step_key for event in second.all_events if event.event_type_value == "STEP_START"}
    assert second.success
    assert started == {"flaky", "out"}
    assert len((tmp_path / "out.txt").read_text().splitlines()) == (2 if run_config else 4)
