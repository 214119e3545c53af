"""`planasonix plan`, as users type it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from planasonix_orchestrator.cli import main
from planasonix_orchestrator.cli.plan import plan_tree
from planasonix_orchestrator.compiler.explain import Entry

DOCUMENT = """
id: pl_{name}
name: {name}
nodes:
  - {{id: n_orders, type: source.parquet, config: {{path: orders.parquet}}}}
  - {{id: n_paid, type: {type}, config: {{expression: status = 'paid'}}}}
edges:
  - {{source: n_orders, target: n_paid}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one sound pipeline and one with a problem."""
    (tmp_path / "sound.yaml").write_text(DOCUMENT.format(name="sound", type="filter"))
    (tmp_path / "broken.yaml").write_text(DOCUMENT.format(name="broken", type="fliter"))
    return tmp_path


@pytest.mark.parametrize("pipeline", ["pl_sound", "sound", "{folder}/sound.yaml"])
def test_a_pipeline_is_found_by_id_name_or_file(folder: Path, pipeline: str) -> None:
    """All three names give the same plan, as plain text in a pipe."""
    result = _plan(folder, pipeline.format(folder=folder))
    assert result.exit_code == 0
    assert result.output.startswith("sound (pl_sound), version ")
    assert "2. n_paid: transform.filter" in result.output


def test_machines_get_json(folder: Path) -> None:
    """With --json the plan is one JSON object."""
    assert json.loads(_plan(folder, "sound", "--json").output)["order"] == ["n_orders", "n_paid"]


def test_an_unknown_pipeline_is_answered_with_the_nearest(folder: Path) -> None:
    """A misspelt name ends with exit code 1 and the name that was probably meant."""
    result = _plan(folder, "pl_sond")
    assert (result.exit_code, result.output) == (1, "unknown pipeline 'pl_sond' (did you mean 'pl_sound'?)\n")


@pytest.mark.parametrize("pipeline", ["pl_broken", "{folder}/broken.yaml"])
def test_a_broken_pipeline_is_answered_with_its_problems(folder: Path, pipeline: str) -> None:
    """A pipeline that can't be compiled ends with exit code 1 and what is wrong with it."""
    result = _plan(folder, pipeline.format(folder=folder))
    assert result.exit_code == 1
    assert "broken.yaml:6:" in result.output
    assert "unknown type 'fliter'" in result.output


def test_a_terminal_gets_a_tree() -> None:
    """On a terminal the outline is drawn as a tree, markup characters as they are."""
    console = Console(width=40, force_terminal=False)
    with console.capture() as capture:
        console.print(plan_tree(Entry("plan [x]", (Entry("stage 1", (Entry("1. n_a"),)),))))
    assert capture.get() == "plan [x]\n└── stage 1\n    └── 1. n_a\n"


def _plan(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["plan", *arguments, "--pipelines", str(folder)])
