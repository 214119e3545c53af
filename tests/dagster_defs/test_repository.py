"""The repository: lazily built jobs, and what it publishes."""

import json
from datetime import UTC, datetime
from pathlib import Path

from dagster import RepositoryDefinition

from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.contract.metadata import PIPELINES, PROBLEMS, REPOSITORY_NAME
from planasonix_orchestrator.contract.pipelines import PublishedStep
from planasonix_orchestrator.dagster_defs.repository import (
    build_job_of_document,
    build_repository,
    load_repository,
)
from planasonix_orchestrator.graph.loading import load_folder
from tests.dagster_defs.nodes import build_catalog
from tests.dagster_defs.pipelines import document, node, published, settings_of


def repository_of(folder: Path) -> RepositoryDefinition:
    """The repository of a folder, with the node types of the tests."""
    catalog = build_catalog()
    return build_repository(
        compile_folder(load_folder(folder), catalog=catalog),
        catalog=catalog,
        settings=settings_of(folder),
        ids_by_file={str(folder / "broken.json"): "pl_broken"},
    )


def test_all_pipelines_stand_side_by_side(tmp_path: Path) -> None:
    """Jobs of one repository share their ops, so Dagster takes them together."""
    for name in ("first", "second", "source_numbers"):
        pipeline = document([node("a", "source.numbers"), node("b", "keep", expression="n > 1")], ("a", "b"), name=name)
        (tmp_path / f"{name}.json").write_text(json.dumps(pipeline))
    repository = repository_of(tmp_path)
    assert repository.name == REPOSITORY_NAME
    assert {job.name for job in repository.get_all_jobs()} == {"first", "second", "source_numbers"}


def test_pipelines_are_published(tmp_path: Path) -> None:
    """The API finds id, name, job, version, time, plan and document of each pipeline in the metadata."""
    nodes = [node("in", "source.numbers"), node("b", "keep", expression="n > 1")]
    (tmp_path / "a.json").write_text(json.dumps(document(nodes, ("in", "b"), name="a b")))
    (pipeline,) = published(repository_of(tmp_path), PIPELINES)
    changed = datetime.fromtimestamp((tmp_path / "a.json").stat().st_mtime, UTC)
    assert pipeline["id"] == "pl_a_b"
    assert pipeline["name"] == "a b"
    assert pipeline["jobName"] == "a_x20_b"
    assert len(pipeline["version"]) == 16
    assert abs(datetime.fromisoformat(pipeline["updatedAt"]) - changed).total_seconds() < 1
    assert pipeline["updatedAt"].endswith("Z")
    assert [step["nodeId"] for step in pipeline["plan"]] == ["in", "b"]
    assert [each["id"] for each in pipeline["document"]["nodes"]] == ["in", "b"]
    assert pipeline["document"]["edges"][0]["source"] == "in"


def test_the_plan_is_published(tmp_path: Path) -> None:
    """Each step tells type, name, stage, where its rows are kept and why, inputs by port, retries and time limit."""
    nodes = [
        node("out", "destination.collect", timeout=2.5, path="out.txt"),
        {**node("pile", "transform.stack"), "name": "Pile them up"},
        node("in", "source.numbers", retries=2),
        node("more", "source.numbers"),
    ]
    edges = [("in", "pile"), ("more", "pile", "extra"), ("pile", "out")]
    (tmp_path / "a.json").write_text(json.dumps(document(nodes, *edges)))
    plan = {step["nodeId"]: step for step in published(repository_of(tmp_path), PIPELINES)[0]["plan"]}
    assert list(plan) == ["in", "more", "pile", "out"]
    assert all(step.keys() == PublishedStep.__required_keys__ for step in plan.values())
    assert plan["pile"]["inputs"] == [{"nodeId": "in", "port": "input"}, {"nodeId": "more", "port": "extra"}]
    assert [plan[each]["type"] for each in ("pile", "out")] == ["transform.stack", "destination.collect"]
    assert [plan[each]["name"] for each in ("pile", "in")] == ["Pile them up", None]
    assert [plan[each]["storage"] for each in ("in", "out")] == ["view", "none"]
    assert [plan[each]["retries"] for each in ("in", "more")] == [2, 0]
    assert [plan[each]["timeoutSeconds"] for each in ("out", "in")] == [2.5, None]
    assert all(step["reason"] and isinstance(step["stage"], int) for step in plan.values())


def test_problems_are_published_and_harm_no_other(tmp_path: Path) -> None:
    """A broken document is told with its place and its id; the others load."""
    (tmp_path / "broken.json").write_text(json.dumps(document([node("a", "source.number")], name="broken")))
    (tmp_path / "sound.json").write_text(json.dumps(document([node("a", "source.numbers")], name="sound")))
    repository = repository_of(tmp_path)
    (problem,) = published(repository, PROBLEMS)
    assert problem["code"] == "unknown_type"
    assert problem["file"] == str(tmp_path / "broken.json")
    assert problem["pipelineId"] == "pl_broken"
    assert repository.job_names == ["sound"]


def test_an_empty_folder_is_an_empty_repository(tmp_path: Path) -> None:
    """No pipelines, no jobs, no problems."""
    repository = load_repository(settings_of(tmp_path))
    assert list(repository.job_names) == []
    assert published(repository, PROBLEMS) == []


def test_a_missing_folder_is_a_problem(tmp_path: Path) -> None:
    """The code location loads without its folder, and says what is missing."""
    repository = load_repository(settings_of(tmp_path / "nowhere"))
    assert list(repository.job_names) == []
    assert [problem["code"] for problem in published(repository, PROBLEMS)] == ["no_such_folder"]


def test_the_job_of_a_document_is_that_of_the_repository(tmp_path: Path) -> None:
    """A run's process builds its job from the document that was queued: name, ops and schema are the same."""
    nodes = [
        node("in", "source.csv", path="{{ file }}.csv"),
        node("even", "filter", retries=1, expression="n % 2 = 0"),
        node("out", "destination.parquet", path="out.parquet"),
    ]
    pipeline = document(nodes, ("in", "even"), ("even", "out"), name="a b", variables={"file": {"default": "x"}})
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").write_text(json.dumps(pipeline))
    settings = settings_of(tmp_path)
    job = load_repository(settings).get_job("a_x20_b")
    (tmp_path / "sub" / "a.json").unlink()
    data, file = (job.metadata[key].value for key in ("document", "file"))
    built = build_job_of_document(json.loads(json.dumps(data)), settings=settings, file=str(file))
    assert built.get_job_snapshot_id() == job.get_job_snapshot_id()
    assert built.run_config == job.run_config
    assert "file" not in build_job_of_document(json.loads(json.dumps(data)), settings=settings).metadata
