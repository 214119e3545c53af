"""A plan as a Dagster job: what the data engineer sees before any run."""

from pathlib import Path
from typing import Any

import pytest
from dagster import JobDefinition

from planasonix_orchestrator.contract.tags import NODE_TYPE, PIPELINE_ID, PIPELINE_VERSION
from planasonix_orchestrator.dagster_defs.ops import build_ops
from planasonix_orchestrator.nodes.catalog import DuplicateNodeTypeError
from tests.dagster_defs.nodes import Keep, build_catalog
from tests.dagster_defs.pipelines import document, events_of, execute, job_of, node, plan_of

VARIABLES = {
    "limit": {"type": "integer", "default": 3, "description": "How many rows."},
    "since": {"type": "date", "required": True, "description": "The first day."},
}


@pytest.fixture
def job(tmp_path: Path) -> JobDefinition:
    """The job of a pipeline with something of everything."""
    nodes = [
        node("n_source", "source.numbers", rows="{{ limit }}"),
        node("load-data", "keep", retries=2, expression="n > 1"),
        node("in", "destination.collect", path="out.txt"),
    ]
    pipeline = document(
        nodes,
        ("n_source", "load-data"),
        ("load-data", "in"),
        name="daily load",
        description="Loads every day.",
        variables=VARIABLES,
        tags={"team": "sales", "odd key!": "any värde / at all", "planasonix/pipeline_id": "pl_fake"},
    )
    return job_of(pipeline, folder=tmp_path)


def test_a_job_is_named_and_described_after_its_pipeline(job: JobDefinition) -> None:
    """The job's name is the pipeline's, escaped where Dagster refuses it; the description is the pipeline's."""
    assert job.name == "daily_x20_load"
    assert job.description == "Loads every day."
    assert job.metadata["pipeline"].value == "daily load"
    assert "1. n_source: source.numbers" in str(job.metadata["plan"].value)


def test_tags_tell_the_pipeline_and_what_the_document_says(job: JobDefinition) -> None:
    """Document tags are made valid for Dagster; those of ours can't be faked."""
    assert job.tags[PIPELINE_ID] == "pl_daily_load"
    assert len(job.tags[PIPELINE_VERSION]) == 16
    assert job.tags["team"] == "sales"
    assert job.tags["odd_key_"] == "any värde / at all"


def test_nodes_are_aliases_of_one_op_per_type(job: JobDefinition) -> None:
    """An op is named after its node, defined by the node type, and tagged with the type and its icons."""
    ops = {each.name: each for each in job.graph.nodes}
    assert set(ops) == {"n_source", "load_x2d_data", "in_"}
    assert ops["load_x2d_data"].definition.name == "transform_keep"
    assert ops["load_x2d_data"].tags[NODE_TYPE] == "transform.keep"
    assert ops["load_x2d_data"].tags["dagster/kind/duckdb"] == ""
    assert ops["load_x2d_data"].definition.description == Keep.__doc__


def test_all_jobs_share_the_ops(tmp_path: Path) -> None:
    """Op names are unique in a repository because every job uses the same objects."""
    catalog = build_catalog()
    assert build_ops(catalog)["source.numbers"].name == "source_numbers"


def test_two_types_with_one_op_name_are_refused() -> None:
    """Types that Dagster could not tell apart are an error that names both."""

    class Twin(Keep):
        """Another type whose op would have the same name."""

        type_name = "transform_keep"
        aliases = ("twin",)

    with pytest.raises(DuplicateNodeTypeError, match=r"transform\.keep"):
        build_ops(build_catalog(Twin()))


def test_the_launchpad_opens_with_every_config_and_variable(job: JobDefinition) -> None:
    """The default run config is complete: configs with defaults, variables with theirs, null where a run decides."""
    assert job.run_config is not None
    ops = job.run_config["ops"]
    assert ops["n_source"]["config"] == {"rows": "{{ limit }}", "order": "up", "label": None}
    assert ops["load_x2d_data"]["config"] == {"expression": "n > 1"}
    assert job.run_config["resources"]["variables"]["config"] == {"limit": 3, "since": None}


def test_variables_are_described_in_the_launchpad(job: JobDefinition) -> None:
    """Each variable is a field of the resource `variables`, with its type and what it is for."""
    schema: Any = job.resource_defs["variables"].config_schema.as_field().config_type
    descriptions = {name: field.description for name, field in schema.fields.items()}
    assert descriptions == {
        "limit": "How many rows.",
        "since": "The first day. A date, 2013-01-31. Required: a run must set it.",
    }


def test_edges_are_dependencies_by_port(tmp_path: Path) -> None:
    """Fan-out, fan-in, several ports, and a node that is joined with itself."""
    nodes = [
        node("a", "source.numbers"),
        node("b", "source.numbers"),
        node("s", "transform.stack"),
    ]
    pipeline = document(nodes, ("a", "s", "input"), ("b", "s", "input"), ("a", "s", "extra"))
    job = job_of(pipeline, folder=tmp_path)
    inputs = {
        handle.input_name: {output.node_name for output in outputs}
        for handle, outputs in job.graph.dependency_structure.input_to_upstream_outputs_for_node("s").items()
    }
    assert inputs == {"input_": {"a", "b"}, "extra": {"a"}}


def test_a_pipeline_may_have_the_name_of_an_op(tmp_path: Path) -> None:
    """A pipeline called like a node type's op still builds and runs."""
    job = job_of(document([node("source_numbers", "source.numbers")], name="source_numbers"), folder=tmp_path)
    assert execute(job).success


def test_long_and_many_nodes_build(tmp_path: Path) -> None:
    """A chain of 500 nodes becomes a job of 500 ops."""
    nodes = [node("n0", "source.numbers"), *(node(f"n{i}", "keep", expression="n >= 0") for i in range(1, 500))]
    edges = [(f"n{i}", f"n{i + 1}") for i in range(499)]
    plan = plan_of(document(nodes, *edges), folder=tmp_path)
    assert len(plan.steps) == 500
    assert len(job_of(document(nodes, *edges), folder=tmp_path).graph.nodes) == 500


def test_the_name_of_every_event_is_the_nodes(tmp_path: Path) -> None:
    """Names that Dagster reserves are escaped, so that nodes called `config`, `in` and `type` run."""
    nodes = [node(name, "source.numbers") for name in ("config", "in", "type", "a b", "ä")]
    result = execute(job_of(document(nodes), folder=tmp_path))
    assert result.success
    assert {event.step_key for event in events_of(result, "STEP_SUCCESS")} == {
        "config_",
        "in_",
        "type_",
        "a_x20_b",
        "_xe4_",
    }


@pytest.mark.parametrize(
    "text", ["é" * 200, "__ASSET_JOB", "a.b/c d", "result", "None", "x" * 200, "1", "in_", "{{", "\n"]
)
def test_any_name_of_a_pipeline_or_node_is_taken(tmp_path: Path, text: str) -> None:
    """Dagster's rules for names are no rules for documents."""
    nodes = [node(text, "source.numbers"), node("b", "keep", expression="n > 1")]
    result = execute(job_of({**document(nodes, (text, "b"), name=text), "id": "pl_a"}, folder=tmp_path))
    assert result.success


def test_any_tags_are_taken(tmp_path: Path) -> None:
    """Tags that Dagster would refuse are made valid, so they never break the code location or a run."""
    tags = {"": "v", "k": "", "k" * 100: "v" * 5000, "a/b/c": "v", "ü": "\n\x00", "/": "/", "dagster/kind/x": "y"}
    result = execute(job_of(document([node("a", "source.numbers")], tags=tags), folder=tmp_path))
    assert result.success
    assert result.dagster_run.tags["a/b_c"] == "v"
    assert result.dagster_run.tags["k" * 63] == "v" * 255


def test_tags_of_the_system_can_not_be_faked(tmp_path: Path) -> None:
    """Of the tags that Dagster and we act upon, a document may set the ones that tune its own runs, with a number."""
    tags = {
        "dagster/priority": "-3",
        "dagster/max_runtime": "soon",
        "dagster/parent_run_id": "x",
        ".dagster/grpc_info": "x",
        "planasonix/trigger": "schedule",
    }
    own = job_of(document([node("a", "source.numbers")], tags=tags), folder=tmp_path).tags
    assert {key: value for key, value in own.items() if key not in {PIPELINE_ID, PIPELINE_VERSION}} == {
        "dagster/priority": "-3",
        "dagster_max_runtime": "soon",
        "dagster_parent_run_id": "x",
        ".dagster_grpc_info": "x",
        "planasonix_trigger": "schedule",
    }


def test_any_name_of_a_variable_is_taken(tmp_path: Path) -> None:
    """Variables may have names with dots and dashes."""
    variables = {"a.b-c": {"default": "x"}, "config": {"default": "y"}, "_": {"type": "number", "default": 1}}
    pipeline = document([node("a", "source.numbers", label="{{ a.b-c }}{{ config }}{{ _ }}")], variables=variables)
    assert execute(job_of(pipeline, folder=tmp_path)).success
