"""Order and cycles of graphs, however deep."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planasonix_orchestrator.graph.topology import CycleError, find_cycles, print_cycle, topological_order

NODES = [f"n{number}" for number in range(8)]
EDGES = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=20)


@given(EDGES)
def test_a_graph_has_either_an_order_or_a_cycle(edges: list[tuple[str, str]]) -> None:
    """An order holds every node once, each after those it reads from; without cycles there is one."""
    cycles = find_cycles(NODES, edges)
    if cycles:
        with pytest.raises(CycleError) as error:
            topological_order(NODES, edges)
        assert error.value.cycles == cycles
    else:
        order = topological_order(NODES, edges)
        assert sorted(order) == sorted(NODES)
        assert all(order.index(source) < order.index(target) for source, target in edges)


@given(EDGES)
def test_a_cycle_follows_edges_and_visits_no_node_twice(edges: list[tuple[str, str]]) -> None:
    """Each cycle can be walked, begins with its first node of the document, and shares no knot with another."""
    cycles = find_cycles(NODES, edges)
    for cycle in cycles:
        assert all(pair in edges for pair in zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        assert len(set(cycle)) == len(cycle)
        assert min(cycle) == cycle[0]
    longer = [node for cycle in cycles if len(cycle) > 1 for node in cycle]
    assert len(longer) == len(set(longer))


@given(EDGES.map(lambda edges: [(a, b) for a, b in edges if a < b]), st.randoms())
def test_the_order_does_not_depend_on_the_order_of_edges(edges: list[tuple[str, str]], random: object) -> None:
    """Equal graphs have equal orders; nodes that nothing orders stay as the document has them."""
    shuffled = list(edges)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert topological_order(NODES, edges) == topological_order(NODES, shuffled)
    assert topological_order(NODES, []) == tuple(NODES)


def test_depth_and_width_do_not_matter() -> None:
    """A chain of 20,000 nodes, the same chain closed to a ring, and a fan of 20,000 are all read."""
    nodes = [str(number) for number in range(20_000)]
    chain = list(pairwise(nodes))
    assert topological_order(reversed(nodes), chain) == tuple(nodes)
    assert find_cycles(nodes, [*chain, (nodes[-1], nodes[0])]) == (tuple(nodes),)
    assert topological_order(nodes, [("0", node) for node in nodes[1:]]) == tuple(nodes)


def test_self_loops_and_knots_are_told_apart() -> None:
    """A node that reads from itself is told, and so is the cycle that it is part of."""
    cycles = find_cycles("abcd", [("c", "b"), ("b", "c"), ("b", "b"), ("c", "a"), ("d", "d")])
    assert [print_cycle(cycle) for cycle in cycles] == ["b -> b", "d -> d", "b -> c -> b"]


def test_edges_to_nowhere_order_nothing() -> None:
    """An edge whose end does not exist is ignored here; a rule reports it."""
    assert topological_order("ab", [("x", "a"), ("b", "y")]) == ("a", "b")
    assert find_cycles("a", [("x", "x")]) == ()
