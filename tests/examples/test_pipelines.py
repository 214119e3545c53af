"""The example pipelines: valid as they stand, and right when they run."""

from pathlib import Path

import pytest

from benchmarks.plan_runner import run_plan
from examples.demo.arrival import drop_file
from examples.demo.data import OUTPUT, PIPELINES, prepare_data
from examples.demo.expected import Expected
from examples.run_demo import CHAIN, MINIMUM_FLIGHTS, RUNS
from planasonix_orchestrator.compiler.compile import CompiledFolder, compile_folder
from planasonix_orchestrator.graph.loading import load_folder
from planasonix_orchestrator.nodes.catalog import load_catalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example pipelines, with data beside them, so that output goes to a folder of the test's own."""
    copy = tmp_path / PIPELINES.name
    copy.mkdir()
    for document in PIPELINES.iterdir():
        (copy / document.name).write_text(document.read_text(encoding="utf-8"), encoding="utf-8")
    prepare_data(tmp_path / "data")
    return copy


def compiled(folder: Path) -> CompiledFolder:
    """All pipelines of the folder, compiled."""
    return compile_folder(load_folder(folder), catalog=load_catalog())


def test_the_examples_have_no_problem() -> None:
    """Every example document loads and compiles, and the demo runs all of them."""
    result = compiled(PIPELINES)
    assert result.problems == ()
    assert {plan.pipeline_id for plan in result.plans} == {*(pipeline_id for pipeline_id, _ in RUNS), *CHAIN}


def test_each_example_is_scheduled_or_says_why_not() -> None:
    """One example declares a schedule, and all have a description."""
    result = compiled(PIPELINES)
    assert [plan.pipeline_id for plan in result.plans if plan.document.get("schedules")] == ["pl_on_time_performance"]
    assert all(plan.description for plan in result.plans)


@pytest.mark.stack
def test_the_examples_do_what_hand_written_queries_say(folder: Path, postgres_url: str) -> None:
    """Run twice over real data and PostgreSQL, every node's counts and every result equal the hand-written ones."""
    result = compiled(folder)
    plans = {plan.pipeline_id: plan for plan in result.plans}
    expected = Expected(
        data=folder.parent / "data",
        output=folder.parent / OUTPUT.name,
        postgres_url=postgres_url,
        minimum_flights=MINIMUM_FLIGHTS,
    )
    arrived = drop_file(folder.parent / "data", inbox=folder.parent)
    runs: list[tuple[str, dict[str, str | int]]] = [*RUNS, (CHAIN[0], {"file": str(arrived)}), (CHAIN[1], {})]
    for _ in range(2):
        for pipeline_id, variables in runs:
            done = run_plan(
                plans[pipeline_id],
                catalog=load_catalog(),
                connections=result.connections,
                base=folder,
                environment={"PLANASONIX_POSTGRES_URL": postgres_url},
                variables=variables,
            )
            counts = {node_id: (node.rows_in, node.rows_out) for node_id, node in done.items()}
            assert counts == expected.counts(pipeline_id)
            for result_ in expected.results(pipeline_id):
                assert result_.rows == result_.expected, result_.place


def test_a_wrong_result_is_seen(folder: Path, postgres_url: str) -> None:
    """Results of a run with other variables are not taken for the expected ones."""
    result = compiled(folder)
    plans = {plan.pipeline_id: plan for plan in result.plans}
    for pipeline_id, variables in (("pl_on_time_performance", {}), ("pl_carrier_ranking", {"minimum_flights": 1})):
        run_plan(
            plans[pipeline_id],
            catalog=load_catalog(),
            connections=result.connections,
            base=folder,
            environment={"PLANASONIX_POSTGRES_URL": postgres_url},
            variables=variables,
        )
    expected = Expected(
        data=folder.parent / "data",
        output=folder.parent / OUTPUT.name,
        postgres_url=postgres_url,
        minimum_flights=MINIMUM_FLIGHTS,
    )
    assert [found.right for found in expected.results("pl_on_time_performance")] == [True, True]
    assert [found.right for found in expected.results("pl_carrier_ranking")] == [False, False, False]
