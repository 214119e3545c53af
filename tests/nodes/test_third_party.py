"""A node type from another package, found through the entry-point group `planasonix.nodes`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack  # it works for seconds

EXAMPLE = Path(__file__).parents[2] / "examples" / "third_party_node"

PROGRAM = """
import logging, pathlib
from planasonix_orchestrator.engine.connections import Connections
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.nodes.base import Inputs, NamedRelation, NodeContext
from planasonix_orchestrator.nodes.catalog import load_catalog
from planasonix_orchestrator.nodes.execution import run_node
from sqlglot import exp

shout = load_catalog().get("shout")
with Session(spill=pathlib.Path("spill")) as session:
    rows = session.count(session.define("n_source", exp.select("'Ada' AS customer", "1 AS n")))
    result = run_node(
        shout,
        config=shout.config_model.model_validate(dict(shout.example)),
        inputs=Inputs({"input": [NamedRelation(name="n_source", relation=rows)]}),
        storage="view",
        context=NodeContext(
            node_id="n_shout", run_id="run", session=session, connections=Connections({}, environment={}),
            base=pathlib.Path(), log=logging.getLogger(),
        ),
    )
    with session.cursor() as cursor:
        print(result.rows_in, result.rows_out, cursor.execute(result.relation.select().sql("duckdb")).fetchall())
"""


def test_an_installed_package_adds_a_node_type(tmp_path: Path) -> None:
    """Once the package is installed, its type is listed, described and run like those that are built in."""
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, *offline, "--target", str(target), str(source)], check=True, timeout=120)
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            check=True, timeout=120, text=True, capture_output=True, cwd=tmp_path, env=environment,
        ).stdout  # fmt: skip

    assert run("-c", PROGRAM) == "1 1 [('ADA!!', 1)]\n"
    command = "from planasonix_orchestrator.cli import main; main()"
    assert run("-c", command, "nodes", "shout").startswith("### Shout\n\n`transform.shout` (short: `shout`).")
