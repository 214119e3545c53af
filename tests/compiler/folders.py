"""Compiles documents of the test node types, from files as users have them."""

import json
from pathlib import Path
from typing import Any

from planasonix_orchestrator.compiler.compile import CompiledFolder, compile_folder
from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.loading import load_folder
from tests.compiler.nodes import CATALOG

CONNECTIONS = """
connections:
  conn_pg: {type: postgres, url: {env: SOME_URL}}
  conn_duck: {type: duckdb, path: data/shelf.duckdb}
"""
Node = dict[str, Any]
NUMBERS: Node = {"type": "source.numbers"}
KEEP: Node = {"type": "keep", "config": {"expression": "n > 1"}}
SHELF: Node = {"type": "destination.shelf", "config": {"connectionId": "conn_duck", "table": "numbers"}}


def compile_texts(folder: Path, **texts: str) -> CompiledFolder:
    """Compile documents given as YAML or JSON text by file name."""
    (folder / "connections.yaml").write_text(CONNECTIONS)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return compile_folder(load_folder(folder), catalog=CATALOG)


def document(nodes_by_id: dict[str, Node], /, *edges: str, **more: Any) -> str:
    """Return a document of nodes by id and edges such as ``a>b`` or ``a>b.left``."""
    return json.dumps(
        {
            "id": "pl_test",
            "name": "test",
            "nodes": [{"id": id_, **node} for id_, node in nodes_by_id.items()],
            "edges": [_edge(edge) for edge in edges],
        }
        | more
    )


def plan_of(folder: Path, text: str) -> PipelinePlan:
    """Return the plan of a document that has no problem."""
    compiled = compile_texts(folder, test=text)
    assert compiled.problems == ()
    (plan,) = compiled.plans
    return plan


def problems_of(folder: Path, text: str) -> tuple[Problem, ...]:
    """Return the problems of a document that has some."""
    compiled = compile_texts(folder, test=text)
    assert compiled.plans == ()
    return compiled.problems


def _edge(text: str) -> dict[str, str]:
    source, target = text.split(">")
    target, _, port = target.partition(".")
    return {"source": source, "target": target} | ({"targetPort": port} if port else {})
