"""Nodes that start other pipelines, where nothing may be started. What they start is in tests/run_host."""

import json
from pathlib import Path

from planasonix_orchestrator.nodes.catalog import load_catalog
from tests.dagster_defs.pipelines import document, execute, failure_of, job_of, node


def test_rows_that_are_built_again_start_nothing_again(tmp_path: Path) -> None:
    """A run of the nodes behind one builds its rows, but leaves alone what it has started; its own run may not."""
    (tmp_path / "in.csv").write_text("id\n1\n2\n")
    other = document([node("a", "source.csv", path="in.csv")], name="other")
    (tmp_path / "other.json").write_text(json.dumps(other))
    nodes = [
        node("n_in", "source.csv", path="in.csv"),
        node("n_start", "trigger_pipeline", pipelineId="pl_other"),
        node("n_out", "destination.csv", path="out.csv"),
    ]
    job = job_of(document(nodes, ("n_in", "n_start"), ("n_start", "n_out")), folder=tmp_path, catalog=load_catalog())
    result = execute(job, op_selection=["n_out"])
    assert result.success
    assert (tmp_path / "out.csv").read_text() == "id\n1\n2\n"
    assert "this run can't start others" in failure_of(execute(job), "n_start")
