"""The plan as a whole: order, version, variables, document, and folders of pipelines."""

import json
from pathlib import Path
from typing import Any

import pytest

from planasonix_orchestrator.compiler.compile import compile_pipeline
from planasonix_orchestrator.compiler.explain import explain, explain_text
from planasonix_orchestrator.compiler.plan import PlanVariable
from planasonix_orchestrator.engine.connections import DuckDBConnection, PostgresConnection, Secret
from planasonix_orchestrator.errors import InvalidDocumentError
from planasonix_orchestrator.graph.loading import load_folder
from tests.compiler.folders import KEEP, NUMBERS, SHELF, Node, compile_texts, document, plan_of
from tests.compiler.nodes import CATALOG

COPY: Node = {"type": "transform.copy"}


TRIGGERS = [
    {"id": "trg_f", "triggerType": "file_watcher", "config": {"path": "in"}},
    {"id": "trg_s", "triggerType": "s3", "config": {"bucket": "b"}},
]


def test_steps_stand_after_what_they_read(tmp_path: Path) -> None:
    """The order is topological, and the document's where the graph leaves it open."""
    nodes = {"c": SHELF, "b": KEEP, "z": NUMBERS, "a": NUMBERS}
    assert [step.node_id for step in plan_of(tmp_path, document(nodes, "b>c", "a>b")).steps] == ["z", "a", "b", "c"]


@pytest.mark.parametrize(
    "change",
    [
        {"updatedAt": "2026-01-01T00:00:00Z"},
        {"createdAt": "2026-01-01T00:00:00Z"},
        {"status": "draft"},
        {"nodes": [{"id": "a", **NUMBERS, "position": {"x": 1, "y": 2}}]},
        {"nodes": [{"id": "a", **NUMBERS, "retries": 0}]},
        {"folderId": "fld_1"},
        {"maxConcurrentRuns": None, "timeoutSeconds": None, "executor": None},
    ],
)
def test_what_means_the_same_has_the_same_version(tmp_path: Path, change: dict[str, Any]) -> None:
    """Positions, times, folders and defaults that are written out leave the version as it is."""
    assert _version(tmp_path, change) == _version(tmp_path, {})


@pytest.mark.parametrize(
    "change",
    [
        {"description": "other"},
        {"nodes": [{"id": "a", **NUMBERS, "config": {"count": 11}}]},
        {"nodes": [{"id": "a", **NUMBERS, "retries": 1}]},
        {"variables": {"v": {"default": "1"}}},
        {"maxConcurrentRuns": 1},
        {"timeoutSeconds": 60},
        {"executor": {"type": "threads"}},
    ],
)
def test_what_means_something_else_has_another_version(tmp_path: Path, change: dict[str, Any]) -> None:
    """A change of what runs, or how, changes the version."""
    assert _version(tmp_path, change) != _version(tmp_path, {})


def test_a_version_is_short_hexadecimal(tmp_path: Path) -> None:
    """A version has 16 hexadecimal characters."""
    version = _version(tmp_path, {})
    assert len(bytes.fromhex(version)) == 8


def test_a_variable_without_a_default_is_required(tmp_path: Path) -> None:
    """A run must set what has no default, or says so; null is a default."""
    variables = {"a": {}, "b": {"default": None}, "c": {"type": "integer", "default": 3, "required": True}}
    plan = plan_of(tmp_path, document({"a": NUMBERS}, variables=variables))
    assert plan.variables == (
        PlanVariable(name="a", type="string", required=True),
        PlanVariable(name="b", type="string"),
        PlanVariable(name="c", type="integer", default=3, required=True),
    )


def test_the_document_is_in_the_shape_of_the_api(tmp_path: Path) -> None:
    """Edges have source and target, keys are camelCase, and what is not set is not there."""
    nodes = [{"id": "a", **NUMBERS}, {"id": "s", **SHELF, "timeoutSeconds": 3, "position": {"x": 1, "y": 2}}]
    text = document({}, nodes=nodes, edges=[{"id": "e1", "from": "a", "to": "s", "targetHandle": "input"}])
    shown = plan_of(tmp_path, text).document
    assert shown["edges"] == [{"id": "e1", "source": "a", "target": "s", "targetPort": "input"}]
    assert shown["nodes"][1] == {"id": "s", "retries": 0, **SHELF, "timeoutSeconds": 3.0, "position": {"x": 1, "y": 2}}
    assert json.loads(json.dumps(shown)) == shown


def test_a_broken_pipeline_harms_no_other(tmp_path: Path) -> None:
    """A folder gives the plans of what is right and the problems of what is not."""
    right = document({"a": NUMBERS})
    wrong = document({"a": KEEP}, id="pl_wrong", name="wrong")
    compiled = compile_texts(tmp_path, right=right, wrong=wrong, garbage="{")
    assert [plan.pipeline_id for plan in compiled.plans] == ["pl_test"]
    assert {Path(each.file or "").name for each in compiled.problems} == {"wrong.yaml", "garbage.yaml"}


def test_a_pipeline_alone_raises_all_its_problems(tmp_path: Path) -> None:
    """Compiling one pipeline raises one error, with every problem in it."""
    (tmp_path / "a.json").write_text(document({"a": {"type": "source.x"}, "b": {"type": "source.y"}}))
    (loaded,) = load_folder(tmp_path).pipelines
    with pytest.raises(InvalidDocumentError) as caught:
        compile_pipeline(loaded, catalog=CATALOG, connections={})
    assert [problem.path for problem in caught.value.problems] == ["$.nodes[0].type", "$.nodes[1].type"]


def test_connections_are_ready_for_a_run_and_hold_no_secret(tmp_path: Path) -> None:
    """Relative paths start at the pipelines folder; secrets stay names of environment variables."""
    assert compile_texts(tmp_path).connections == {
        "conn_pg": PostgresConnection(id="conn_pg", url=Secret("SOME_URL")),
        "conn_duck": DuckDBConnection(id="conn_duck", path=tmp_path / "data/shelf.duckdb"),
    }


@pytest.mark.parametrize("shape", ["chain", "fan"])
def test_five_hundred_nodes_compile(tmp_path: Path, shape: str) -> None:
    """Neither depth nor width of a graph is limited by recursion."""
    names = [f"n{number}" for number in range(499)]
    before = ["a", *names] if shape == "chain" else ["a"] * 499
    edges = [f"{source}>{target}" for source, target in zip(before, names, strict=False)]
    plan = plan_of(tmp_path, document({"a": NUMBERS, **dict.fromkeys(names, COPY)}, *edges))
    assert len(plan.steps) == 500
    assert explain_text(plan).count("transform.copy") == 499


def test_the_explanation_is_json(tmp_path: Path) -> None:
    """Machines get order, branches and stages; every step says where its rows stay and why."""
    nodes = {"a": NUMBERS, "b": KEEP, "x": SHELF, "y": SHELF}
    explained = explain(plan_of(tmp_path, document(nodes, "a>b", "b>x", "b>y")))
    assert json.loads(json.dumps(explained)) == explained
    assert explained["order"] == ["a", "b", "x", "y"]
    assert explained["branches"] == [{"nodeId": "b", "into": ["x", "y"]}]
    assert explained["stages"] == [{"stage": 1, "steps": ["a", "b", "x", "y"], "keeps": [], "writes": ["x", "y"]}]
    assert all(step["storageReason"] for step in explained["steps"])


@pytest.mark.parametrize(
    ("number", "change", "same"),
    [
        (0, {"environmentId": None}, True),
        (0, {"environmentId": "prod"}, False),
        (0, {"config": {"path": "in", "ignoreExisting": False, "pathsFormat": "commas"}}, True),
        (0, {"config": {"path": "in", "ignoreExisting": True}}, False),
        (1, {"config": {"bucket": "b", "endpointUrl": None}}, True),
        (1, {"config": {"bucket": "b", "endpointUrl": "http://localhost:9000"}}, False),
    ],
)
def test_what_a_trigger_does_not_say_leaves_the_version(
    tmp_path: Path, number: int, change: dict[str, Any], same: bool
) -> None:
    """Documents from before a key came to be keep their version; this one had it then."""
    (tmp_path / "environments.yaml").write_text("environments: {prod: {}}")
    triggers = [dict(each) for each in TRIGGERS]
    triggers[number].update(change)
    assert (_version(tmp_path, {"triggers": triggers}) == "33ebc5fefa52e138") is same


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ({}, True),
        ({"eventId": None, "variables": None}, True),
        ({"eventId": "id"}, False),
        ({"variables": {}}, False),
    ],
)
def test_what_a_webhook_does_not_say_leaves_the_version(tmp_path: Path, said: dict[str, Any], same: bool) -> None:
    """Likewise: this one is of before webhooks could take anything from their body but all of it."""
    trigger = {"id": "trg_w", "triggerType": "webhook", "config": {"secret": {"env": "HOOK"}, **said}}
    assert (_version(tmp_path, {"triggers": [trigger]}) == "7d24da0260292d1d") is same


def _version(folder: Path, change: dict[str, Any]) -> str:
    return plan_of(folder, document({"a": NUMBERS}, **change)).version


def test_how_runs_go_on_is_told(tmp_path: Path) -> None:
    """How many at once, how long, and how nodes are executed, as JSON and as text; what stays unsaid is not told."""
    executor = {"type": "multiprocess", "maxParallelNodes": 4}
    plan = plan_of(tmp_path, document({"a": NUMBERS}, maxConcurrentRuns=1, timeoutSeconds=90.5, executor=executor))
    told = explain(plan)
    assert (told["maxConcurrentRuns"], told["timeoutSeconds"], told["executor"]) == (1, 90.5, executor)
    assert explain_text(plan).splitlines()[2:7] == [
        "  runs",
        "    1 at a time, further ones wait in the queue",
        "    stopped after 90.5 s",
        "    nodes work in a process each",
        "    4 nodes at a time",
    ]
    (tmp_path / "test.yaml").unlink()
    plain = plan_of(tmp_path, document({"a": NUMBERS}))
    assert [explain(plain)[key] for key in ("maxConcurrentRuns", "timeoutSeconds", "executor")] == [None] * 3
    assert "runs" not in explain_text(plain).split()
