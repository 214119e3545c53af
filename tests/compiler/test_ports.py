"""Edges and ports: who goes where, and what is too much or too little."""

from pathlib import Path

import pytest

from tests.compiler.folders import NUMBERS, SHELF, Node, document, plan_of, problems_of

SOURCES: dict[str, Node] = {"a": NUMBERS, "b": NUMBERS}
PAIR = SOURCES | {"p": {"type": "transform.pair"}}


def test_edges_without_a_port_take_the_free_ports_in_order(tmp_path: Path) -> None:
    """The first edge goes to the first port."""
    assert _inputs(tmp_path, document(PAIR, "b>p", "a>p")) == [("left", "b", "b"), ("right", "a", "a")]


def test_edges_that_name_a_port_come_first(tmp_path: Path) -> None:
    """An edge without a port takes what the others leave, even if it stands before them."""
    assert _inputs(tmp_path, document(PAIR, "a>p", "b>p.left")) == [("left", "b", "b"), ("right", "a", "a")]


def test_a_many_port_takes_every_edge_under_its_name(tmp_path: Path) -> None:
    """SQL calls an input by the edge's own port name, else by the node that it comes from."""
    query: Node = {"type": "transform.query", "config": {"query": "SELECT * FROM a, other"}}
    text = document(SOURCES | {"p": query}, "a>p.input", "b>p.other")
    assert _inputs(tmp_path, text) == [("input", "a", "a"), ("input", "b", "other")]


def test_one_node_may_feed_two_ports(tmp_path: Path) -> None:
    """A node can be joined with itself."""
    nodes: dict[str, Node] = {"a": NUMBERS, "p": {"type": "transform.pair"}}
    assert _inputs(tmp_path, document(nodes, "a>p.left", "a>p.right")) == [("left", "a", "a"), ("right", "a", "a")]


def test_an_isolated_source_is_a_pipeline(tmp_path: Path) -> None:
    """One node without an edge compiles."""
    assert len(plan_of(tmp_path, document({"a": NUMBERS})).steps) == 1


@pytest.mark.parametrize(
    ("nodes", "edges", "code", "path"),
    [
        (PAIR, ["a>p"], "missing_input", "$.nodes[2]"),
        (PAIR, ["a>p", "b>p", "a>p.left"], "too_many_inputs", "$.edges[1]"),
        (PAIR, ["a>p.left", "b>p.left"], "too_many_inputs", "$.edges[1]"),
        (PAIR, ["a>p", "b>p.rihgt"], "unknown_port", "$.edges[1].targetPort"),
        (SOURCES, ["a>b"], "too_many_inputs", "$.edges[0]"),
        ({"a": SOURCES["a"], "s": SHELF, "t": SHELF}, ["a>s", "s>t"], "no_output", "$.edges[1].source"),
        ({"s": SHELF}, [], "missing_input", "$.nodes[0]"),
    ],
)
def test_a_wrong_number_of_inputs_is_one_problem(
    tmp_path: Path, nodes: dict[str, Node], edges: list[str], code: str, path: str
) -> None:
    """Each way to go wrong has its code, and is told once, where it stands."""
    assert [(each.code, each.path) for each in problems_of(tmp_path, document(nodes, *edges))] == [(code, path)]


def test_an_unknown_port_has_the_nearest_as_hint(tmp_path: Path) -> None:
    """A misspelt port is answered with the port that was probably meant."""
    (problem,) = problems_of(tmp_path, document(PAIR, "a>p", "b>p.rihgt"))
    assert problem.hint == "did you mean 'right'?"


def _inputs(folder: Path, text: str) -> list[tuple[str, str, str]]:
    return [(each.port, each.node_id, each.name) for each in plan_of(folder, text).step("p").inputs]
