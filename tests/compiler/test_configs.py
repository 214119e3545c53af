"""Node types and configs: completed where they are right, told exactly where they are wrong."""

from pathlib import Path
from typing import Any

import pytest

from tests.compiler.folders import KEEP, NUMBERS, SHELF, Node, document, plan_of, problems_of


def test_an_alias_becomes_the_full_name(tmp_path: Path) -> None:
    """A step has the full name of its node type, whatever the document calls it."""
    plan = plan_of(tmp_path, document({"a": {"type": "source.numbers"}, "b": KEEP}, "a>b"))
    assert plan.step("b").type == "transform.keep"


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    """A step's config has every field, in camelCase."""
    plan = plan_of(tmp_path, document({"a": {"type": "source.numbers", "config": {"order": "down"}}}))
    assert plan.step("a").config == {"count": 10, "order": "down"}


@pytest.mark.parametrize("config", [{"count": "{{ v }}"}, {"order": "{{ v }}"}])
def test_a_template_waits_for_the_run(tmp_path: Path, config: dict[str, Any]) -> None:
    """Where a variable stands for a number or a choice, the config keeps it as it is written."""
    text = document({"a": {"type": "source.numbers", "config": config}}, variables={"v": {"default": "1"}})
    assert plan_of(tmp_path, text).step("a").config == {"count": 10, "order": "up"} | config


def test_templates_wait_at_any_depth(tmp_path: Path) -> None:
    """A variable may stand for a choice in an item of a list; the other items are checked."""
    keys = [{"leftColumn": "n", "kind": "{{ v }}"}, {"leftColumn": "{{ v }}"}]
    nodes: dict[str, Node] = {
        "a": {"type": "source.numbers"},
        "b": {"type": "transform.pair", "config": {"keys": keys}},
    }
    text = document(nodes, "a>b.left", "a>b.right", variables={"v": {"default": "less"}})
    assert plan_of(tmp_path, text).step("b").config["keys"] == [keys[0], {"leftColumn": "{{ v }}", "kind": "equal"}]


def test_a_template_hides_no_other_problem(tmp_path: Path) -> None:
    """A field that is wrong is told, though another waits for a variable."""
    config = {"count": "{{ v }}", "order": "sideways"}
    text = document({"a": {"type": "source.numbers", "config": config}}, variables={"v": {"default": "1"}})
    (problem,) = problems_of(tmp_path, text)
    assert (problem.code, problem.path) == ("invalid_value", "$.nodes[0].config.order")


def test_no_variable_stands_for_a_list(tmp_path: Path) -> None:
    """A variable's value is text, so a template where a list belongs is wrong whatever the value."""
    nodes: dict[str, Node] = {"a": NUMBERS, "b": {"type": "transform.pair", "config": {"keys": "{{ v }}"}}}
    text = document(nodes, "a>b.left", "a>b.right", variables={"v": {"default": "x"}})
    (problem,) = problems_of(tmp_path, text)
    assert (problem.code, problem.path) == ("invalid_value", "$.nodes[1].config.keys")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """One compilation names the problems of every node."""
    nodes: dict[str, Node] = {
        "a": {"type": "source.nothing"},
        "b": {"type": "keep"},
        "c": SHELF | {"config": {"conectionId": "x"}},
    }
    codes = [problem.code for problem in problems_of(tmp_path, document(nodes, "a>b", "b>c"))]
    assert sorted(codes) == ["missing_field", "missing_field", "missing_field", "unknown_field", "unknown_type"]
