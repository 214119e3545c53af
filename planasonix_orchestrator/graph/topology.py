"""The order in which nodes can run, and the cycles that stop them; no recursion, so depth does not matter.

Nodes are ids in the order of the document; edges are pairs of ids. An edge to a node that does not exist is ignored:
`rules` reports it.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from planasonix_orchestrator.errors import PlanasonixError

Edge = tuple[str, str]


class CycleError(PlanasonixError):
    """The graph has no order, because its nodes wait for each other."""

    def __init__(self, cycles: Sequence[Sequence[str]]) -> None:
        self.cycles = tuple(tuple(cycle) for cycle in cycles)
        super().__init__("; ".join(print_cycle(cycle) for cycle in self.cycles))


def topological_order(nodes: Iterable[str], edges: Iterable[Edge]) -> tuple[str, ...]:
    """Return the nodes so that each stands after those it reads from; else as the document has them.

    `CycleError` if there is no such order.
    """
    places = {node: place for place, node in enumerate(dict.fromkeys(nodes))}
    names = tuple(places)
    pairs = [(places[source], places[target]) for source, target in edges if source in places and target in places]
    followers = _followers(range(len(names)), pairs)
    waiting = [0] * len(names)
    for _, target in pairs:
        waiting[target] += 1
    ready = [place for place, count in enumerate(waiting) if not count]
    order = []
    while ready:
        place = heapq.heappop(ready)
        order.append(names[place])
        for target in followers[place]:
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, target)
    if len(order) < len(names):
        raise CycleError(find_cycles(names, [(names[source], names[target]) for source, target in pairs]))
    return tuple(order)


def find_cycles(nodes: Iterable[str], edges: Iterable[Edge]) -> tuple[tuple[str, ...], ...]:
    """Return each self loop, and one short cycle for each knot of nodes that wait for each other.

    A cycle follows the edges; it begins with the knot's first node in the document, which is not repeated at the end.
    """
    names = tuple(dict.fromkeys(nodes))
    places = {node: place for place, node in enumerate(names)}
    pairs = [(places[source], places[target]) for source, target in edges if source in places and target in places]
    loops = sorted({source for source, target in pairs if source == target})
    followers = _followers(range(len(names)), [(source, target) for source, target in pairs if source != target])
    knots = sorted((knot for knot in _knots(followers) if len(knot) > 1), key=min)
    cycles = [[place] for place in loops] + [_cycle_through(min(knot), knot, followers) for knot in knots]
    return tuple(tuple(names[place] for place in cycle) for cycle in cycles)


def print_cycle(cycle: Sequence[str]) -> str:
    """Return a cycle as people read it: ``a -> b -> a``."""
    return " -> ".join((*cycle, *cycle[:1]))


def _followers(places: Iterable[int], pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    followers: dict[int, list[int]] = {place: [] for place in places}
    for source, target in pairs:
        followers[source].append(target)
    return followers


def _cycle_through(start: int, knot: set[int], followers: Mapping[int, Sequence[int]]) -> list[int]:
    """Return a shortest cycle through a node of a knot; every node of a knot is in one."""
    came_from: dict[int, int] = {}
    queue = deque([start])
    while start not in came_from:
        place = queue.popleft()
        for follower in followers[place]:
            if follower in knot and follower not in came_from:
                came_from[follower] = place
                queue.append(follower)
    path = [came_from[start]]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]


def _knots(followers: Mapping[int, Sequence[int]]) -> list[set[int]]:
    """Return the strongly connected components (Tarjan's algorithm, with a stack of our own)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    knots = []
    for root in followers:
        if root in number:
            continue
        work = [(root, iter(followers[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            place, rest = work[-1]
            for follower in rest:
                if follower not in number:
                    number[follower] = low[follower] = len(number)
                    stack.append(follower)
                    on_stack.add(follower)
                    work.append((follower, iter(followers[follower])))
                    break
                if follower in on_stack:
                    low[place] = min(low[place], number[follower])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[place])
                if low[place] == number[place]:
                    knots.append(_pop_knot(place, stack, on_stack))
    return knots


def _pop_knot(root: int, stack: list[int], on_stack: set[int]) -> set[int]:
    knot = set()
    while root not in knot:
        member = stack.pop()
        on_stack.discard(member)
        knot.add(member)
    return knot
