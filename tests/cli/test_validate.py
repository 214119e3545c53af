"""`planasonix validate` and `planasonix schema`, as a user calls them."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from rich.console import Console

from planasonix_orchestrator.cli import main
from planasonix_orchestrator.cli.validate import print_problems
from planasonix_orchestrator.graph.loading import load_folder
from planasonix_orchestrator.nodes.catalog import load_catalog

DOCS = Path(__file__).parents[2] / "docs"
SOUND = """\
id: pl_sound
name: sound
nodes:
  - {id: n_source, type: source.csv, config: {path: in.csv}}
  - {id: n_filter, type: filter, config: {expression: a > 1}}
  - {id: n_sink, type: destination.csv, config: {path: out.csv}}
edges:
  - {source: n_source, target: n_filter}
  - {source: n_filter, target: n_sink}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one sound pipeline."""
    (tmp_path / "sound.yaml").write_text(SOUND)
    return tmp_path


def validate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["validate", *map(str, arguments)])


def test_a_sound_folder_has_no_problems(folder: Path) -> None:
    """Exit code 0, nothing on standard output, and a count on standard error."""
    result = validate("--pipelines", folder)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 pipeline valid, no problems\n"


def test_problems_are_lines_in_a_pipe(folder: Path) -> None:
    """One line each, sorted by place, those of the graph and those of node types together; exit code 1."""
    file = folder / "bad.yaml"
    text = SOUND.replace("sound", "bad").replace("filter, config", "fliter, config")
    file.write_text(text.replace("path: out.csv", "pth: out.csv").replace("source: n_filter", "source: n_fitler"))
    result = validate("--pipelines", folder)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == [f"{file}:5:20:", f"{file}:6:41:", f"{file}:6:50:", f"{file}:9:6:"]
    assert [line.split("[")[-1].split("]")[0] for line in lines] == [
        "unknown_type",
        "missing_field",
        "unknown_field",
        "dangling_edge",
    ]
    assert "did you mean 'n_filter'?" in lines[3]
    assert result.stderr == "4 problems in 1 file; 1 pipeline valid\n"


def test_json_is_one_object(folder: Path) -> None:
    """It holds every field of every problem."""
    (folder / "bad.yaml").write_text("id: pl_bad\nname: bad\nnodes: []\n")
    result = validate("--pipelines", folder, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "valid": False,
        "pipelines": 1,
        "problems": [
            {
                "code": "invalid_value",
                "message": "'nodes' must have at least 1 item, not []",
                "file": str(folder / "bad.yaml"),
                "line": 3,
                "column": 1,
                "path": "$.nodes",
                "hint": None,
            }
        ],
    }


def test_only_the_named_files_are_checked(folder: Path) -> None:
    """A file or a folder of files can be named; connections come from the folder above."""
    (folder / "bad.yaml").write_text("a: [")
    (folder / "connections.yaml").write_text("connections: {conn_pg: {type: postgres, url: {env: URL}}}")
    inner = folder / "inner"
    inner.mkdir()
    reads = "type: source.postgres, config: {connectionId: conn_pg, table: t}"
    (inner / "deep.yaml").write_text(
        SOUND.replace("sound", "deep").replace("type: source.csv, config: {path: in.csv}", reads)
    )
    assert validate(folder / "sound.yaml", inner).stderr == "2 pipelines valid, no problems\n"
    assert validate(inner / "deep.yaml").exit_code == 0
    assert validate(folder / "bad.yaml").exit_code == 1


def test_the_examples_of_the_docs_are_sound(tmp_path: Path) -> None:
    """The documents in docs/pipelines.md are right to the last config."""
    text = (DOCS / "pipelines.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    for name, example in zip(("pipeline", "connections", "environments"), examples, strict=True):
        (tmp_path / f"{name}.yaml").write_text(example)
    result = validate("--pipelines", tmp_path)
    assert (result.stdout, result.exit_code) == ("", 0)


def test_environments_are_checked_beside_the_files(folder: Path) -> None:
    """Those of the nearest folder that has any, as with connections; given by name, they are no pipeline."""
    (folder / "environments.yaml").write_text("default: prod\n")
    for given in ("sound.yaml", "environments.yaml"):
        result = validate(folder / given)
        assert result.exit_code == 1
        assert "environments.yaml:1:1: $.default: the default 'prod' is not an environment" in result.stdout


def test_what_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    """Exit code 2, as for every wrong call."""
    assert validate(tmp_path / "none.yaml").exit_code == 2
    assert validate("--pipelines", tmp_path / "none").exit_code == 2


def test_the_pipelines_folder_is_that_of_the_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments, PLANASONIX_PIPELINES says which folder."""
    monkeypatch.setenv("PLANASONIX_PIPELINES", str(folder))
    assert validate().stderr == "1 pipeline valid, no problems\n"


def test_a_terminal_shows_the_line_and_a_caret(tmp_path: Path) -> None:
    """The caret stands under the place, also in a line that is cut and after tabs."""
    before = "x" * 200
    (tmp_path / "a.json").write_text(f'{{"id": "pl_a", "name": "{before}",\t"nodes": [{{"id": "a", "typ": "t"}}]}}')
    screen = StringIO()
    print_problems(load_folder(tmp_path).problems, console=Console(file=screen, width=100, color_system=None))
    lines = screen.getvalue().splitlines()
    carets = [number for number, line in enumerate(lines) if line.strip() == "^"]
    assert [lines[number - 1][lines[number].index("^") :][:5] for number in carets] == ['{"id"', '"typ"']
    assert all(len(line) <= 100 for line in lines if before[:50] in line)
    assert any("hint: did you mean 'type'?" in line for line in lines)


def test_a_terminal_shows_no_secret(tmp_path: Path) -> None:
    """A line in which a secret stands is not shown, whatever is wrong with it."""
    (tmp_path / "connections.yaml").write_text("connections:\n  c: {type: postgres, password: hunter2, hots: x}\n")
    screen = StringIO()
    print_problems(load_folder(tmp_path).problems, console=Console(file=screen, width=100))
    assert "'password' must be a secret by name" in screen.getvalue()
    assert "hunter2" not in screen.getvalue()


def test_the_schema_knows_the_installed_node_types(folder: Path) -> None:
    """`planasonix schema` prints a JSON Schema that takes a sound pipeline and refuses an unknown type."""
    result = CliRunner().invoke(main, ["schema"])
    schema = json.loads(result.stdout)
    Draft202012Validator.check_schema(schema)
    node = {"id": "a", "type": "filter", "config": {"expression": "a > 1"}}
    document = {"id": "pl_a", "name": "a", "nodes": [node]}
    validator = Draft202012Validator(schema)
    assert not list(validator.iter_errors(document))
    assert list(validator.iter_errors(document | {"nodes": [node | {"type": "fliter"}]}))


def test_the_schema_takes_the_example_of_every_node_type() -> None:
    """Under the type's own name and under each alias."""
    validator = Draft202012Validator(json.loads(CliRunner().invoke(main, ["schema"]).stdout))
    for node_type in load_catalog():
        config = json.loads(json.dumps(dict(node_type.example)))
        for name in (node_type.type_name, *node_type.aliases):
            document = {"id": "pl_a", "name": "a", "nodes": [{"id": "a", "type": name, "config": config}]}
            assert [error.message for error in validator.iter_errors(document)] == []
            document["nodes"] = [{"id": "a", "type": name, "config": config | {"no_such_key": 1}}]
            assert list(validator.iter_errors(document))


@pytest.mark.parametrize("document", ["pipeline", "connections", "environments"])
def test_the_published_schemas_are_fresh(document: str) -> None:
    """`planasonix schema NAME > docs/NAME.schema.json` makes them."""
    published = DOCS / f"{document}.schema.json"
    assert CliRunner().invoke(main, ["schema", document]).stdout == published.read_text(encoding="utf-8")
