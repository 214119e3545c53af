"""One document at hand as JSON, compiled beside what its folder holds at that moment."""

import json
from pathlib import Path
from typing import Any

import pytest

from planasonix_orchestrator.compiler.compile import compile_one
from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.errors import InvalidDocumentError
from planasonix_orchestrator.graph.loading import load_document
from tests.compiler.folders import CONNECTIONS, KEEP, NUMBERS, SHELF, compile_texts, document
from tests.compiler.nodes import CATALOG

TEXT = document(
    {"a": NUMBERS, "b": KEEP, "c": SHELF},
    "a>b",
    "b>c",
    createdAt="2025-03-31T14:00:00Z",
    variables={"day": {"type": "date", "default": "2025-03-31"}, "none": {"default": None}},
    schedules=[{"id": "sch_a", "cronExpression": "0 2 * * *", "variables": {"day": "2025-04-01", "none": None}}],
    triggers=[
        {"id": "trg_a", "triggerType": "file_watcher", "config": {"path": "in", "include": ["*.csv"]}},
        {"id": "trg_b", "triggerType": "webhook", "config": {"secret": {"env": "HOOK"}}},
        {"id": "trg_c", "triggerType": "upstream", "config": {"pipelineId": "pl_other"}},
        {"id": "trg_d", "triggerType": "s3", "config": {"bucket": "b"}},
    ],
)


OTHER = document({"a": NUMBERS}, id="pl_other", name="other")


def plan_of(folder: Path, text: str) -> PipelinePlan:
    """The plan of a document, beside the other one that it names."""
    compiled = compile_texts(folder, other=OTHER, test=text)
    assert compiled.problems == ()
    return compiled.plans[1]


def compiled(data: Any, folder: Path) -> PipelinePlan:
    return compile_one(load_document(data, folder=folder), catalog=CATALOG).plans[0]


def test_the_document_of_a_plan_compiles_to_the_plan(tmp_path: Path) -> None:
    """What a plan keeps as its document gives the same plan again, whatever it holds, without its file."""
    plan = plan_of(tmp_path, TEXT)
    (tmp_path / "test.yaml").unlink()
    again = compiled(json.loads(json.dumps(plan.document)), tmp_path)
    assert (again.version, again.steps, again.variables) == (plan.version, plan.steps, plan.variables)
    assert again.document == plan.document
    assert (again.file, again.updated_at) == (None, None)


def test_the_connections_are_those_of_this_moment(tmp_path: Path) -> None:
    """A document whose connection has gone compiles no longer; the error names the node and the field."""
    plan = plan_of(tmp_path, TEXT)
    (tmp_path / "connections.yaml").write_text(CONNECTIONS.replace("conn_duck:", "conn_dock:"))
    with pytest.raises(InvalidDocumentError, match=r"\$\.nodes\[2\]\.config\.connectionId: node 'c' .*'conn_duck'"):
        compiled(plan.document, tmp_path)
    (tmp_path / "connections.yaml").unlink()
    with pytest.raises(InvalidDocumentError, match="'conn_duck' does not exist"):
        compiled(plan.document, tmp_path)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Those of the document's shape, of its nodes, and of the connections that it may need."""
    compile_texts(tmp_path)
    (tmp_path / "connections.yaml").write_text("connections:\n  conn_duck: {type: duckdb}\n")
    data = {**json.loads(TEXT), "colour": "red"}
    with pytest.raises(InvalidDocumentError) as caught:
        compiled(data, tmp_path)
    assert [(each.code, each.file and Path(each.file).name) for each in caught.value.problems] == [
        ("missing_field", "connections.yaml"),
        ("unknown_field", None),
        ("unknown_connection", None),
    ]


def test_other_documents_of_the_folder_do_not_matter(tmp_path: Path) -> None:
    """One that is broken, or has the same id by now, harms nothing."""
    plan = plan_of(tmp_path, TEXT)
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "twin.yaml").write_text(TEXT)
    assert compiled(plan.document, tmp_path).version == plan.version


def test_what_a_schedule_does_not_say_leaves_the_version_as_it_was(tmp_path: Path) -> None:
    """The keys that schedules got later; saying them changes it, unless they say what goes without saying."""
    schedule = {"id": "sch_a", "cronExpression": "0 2 * * *"}

    def version(**more: Any) -> str:
        text = document({"a": NUMBERS, "b": KEEP, "c": SHELF}, "a>b", "b>c", schedules=[{**schedule, **more}])
        return plan_of(tmp_path, text).version

    assert version() == "5b13bf1e4cc6a2c9"
    assert version(catchUp="latest", catchUpLimit=100) == version()
    changes: list[dict[str, Any]] = [{"name": "A"}, {"catchUp": "all"}, {"catchUpLimit": 5}, {"deadlineSeconds": 5}]
    assert len({version(), *(version(**change) for change in changes)}) == 5
