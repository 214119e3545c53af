"""`docs/pipelines.md` is right: its examples load, and it leaves out no key, no code and no kind of trigger."""

import re
from pathlib import Path

import pytest

from planasonix_orchestrator.graph.exported import EDGE_KEYS, NODE_KEYS, PIPELINE_KEYS
from planasonix_orchestrator.graph.loading import load_folder
from planasonix_orchestrator.graph.schema import environments_schema, pipeline_schema

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")


def test_the_examples_load(tmp_path: Path) -> None:
    """The documents of the page are a folder without problems."""
    examples = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    for name, example in zip(("pipeline", "connections", "environments"), examples, strict=True):
        (tmp_path / f"{name}.yaml").write_text(example)
    folder = load_folder(tmp_path)
    assert [str(problem) for problem in folder.problems] == []
    assert len(folder.pipelines) == 1
    assert list(folder.environments.document.environments) == ["test", "prod"]


@pytest.mark.parametrize("definition", ["", *pipeline_schema()["$defs"]])
def test_every_key_is_documented(definition: str) -> None:
    """Whatever a document may say, the page names it."""
    schema = pipeline_schema()
    keys = (schema["$defs"][definition] if definition else schema)["properties"]
    ignored = PIPELINE_KEYS | NODE_KEYS | EDGE_KEYS
    undocumented = {key for key in keys if f"`{key}`" not in TEXT} - {"env", "x", "y"}
    assert undocumented == set()
    assert all(f"`{key}`" in TEXT for key in ignored)


@pytest.mark.parametrize("definition", ["", *environments_schema()["$defs"]])
def test_every_key_of_environments_is_documented(definition: str) -> None:
    """Whatever environments.yaml may say, the page names it."""
    schema = environments_schema()
    keys = (schema["$defs"][definition] if definition else schema)["properties"]
    assert {key for key in keys if not re.search(rf"`(environments\.\*\.)?{re.escape(key)}`", TEXT)} == set()


def test_every_problem_code_is_documented() -> None:
    """A code that the source can tell has its place in the table."""
    rooms = [ROOT / "planasonix_orchestrator" / room for room in ("graph", "compiler")]
    source = "\n".join(file.read_text(encoding="utf-8") for room in rooms for file in sorted(room.rglob("*.py")))
    codes = set(re.findall(r'(?:code=|_RefusedError\()"([a-z0-9_]+)"', source))
    assert len(codes) > 25
    assert {code for code in codes if f"`{code}`" not in TEXT} == set()
