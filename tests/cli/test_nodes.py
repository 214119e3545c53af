"""`planasonix nodes`."""

import json

from click.testing import CliRunner

from planasonix_orchestrator.cli import main


def test_all_types_are_listed() -> None:
    """In a pipe, each type is a line: name, short ids, what it does."""
    result = CliRunner().invoke(main, ["nodes"])
    assert result.exit_code == 0
    assert (
        "transform.deduplicate\tdeduplicate,dedupe\tKeeps one row of those that are equal in the keys," in result.output
    )


def test_one_type_is_shown_by_any_of_its_names() -> None:
    """A type is shown with its ports, config and an example."""
    result = CliRunner().invoke(main, ["nodes", "filter"])
    assert result.exit_code == 0
    assert result.output.startswith("### Filter\n")
    assert "| `expression` | string | required |" in result.output
    assert result.output == CliRunner().invoke(main, ["nodes", "transform.filter", "--markdown"]).output


def test_json_is_for_machines() -> None:
    """The list and one type come as JSON too."""
    every = json.loads(CliRunner().invoke(main, ["nodes", "--json"]).output)
    one = json.loads(CliRunner().invoke(main, ["nodes", "join", "--json"]).output)
    assert one in every
    assert one["type"] == "transform.join"
    assert [port["name"] for port in one["inputs"]] == ["left", "right"]


def test_an_unknown_type_is_told_the_nearest() -> None:
    """A misspelt type ends with exit code 1, options that exclude each other with 2."""
    unknown = CliRunner().invoke(main, ["nodes", "fliter"])
    assert (unknown.exit_code, unknown.stderr) == (1, "unknown node type 'fliter'; did you mean 'filter'?\n")
    assert CliRunner().invoke(main, ["nodes", "--json", "--markdown"]).exit_code == 2
