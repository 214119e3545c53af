"""Which nodes of a pipeline a run takes."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from api_adapter.errors import Detail, InvalidRequestError
from planasonix_orchestrator.contract.pipelines import PublishedStep


def select_nodes(plan: Sequence[PublishedStep], *, wanted: Sequence[str]) -> list[str] | None:
    """Return the wanted nodes and all that they need upstream, in the plan's order; None if that is every node.

    `InvalidRequestError` names each that the plan does not have.
    """
    steps = {step["nodeId"]: step for step in plan}
    known = ", ".join(steps)
    details = [
        Detail(f"nodes.{place}", f"the pipeline has no node {node!r}; it has: {known}")
        for place, node in enumerate(wanted)
        if node not in steps
    ]
    if details:
        raise InvalidRequestError("; ".join(f"{one.field}: {one.issue}" for one in details), details=details)
    needed: set[str] = set()
    ahead = list(wanted)
    while ahead:
        node = ahead.pop()
        if node not in needed:
            needed.add(node)
            ahead += [edge["nodeId"] for edge in steps[node]["inputs"]]
    return in_order(plan, nodes=needed)


def in_order(plan: Sequence[PublishedStep], *, nodes: Collection[str]) -> list[str] | None:
    """Return these nodes in the plan's order; None if they are all of it."""
    chosen = [step["nodeId"] for step in plan if step["nodeId"] in nodes]
    return None if len(chosen) == len(plan) else chosen


def unchanged_nodes(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the nodes that two versions of a graph document have alike, with all that is upstream of them.

    Names and places on the canvas do not count.
    """
    old, new = _Graph(before), _Graph(now)
    return {node for node in new.nodes if _is_alike(node, old=old, new=new)}


class _Graph:
    """The nodes of a document without what does not count, and the edges that lead to each."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.nodes = {
            str(node["id"]): {key: value for key, value in node.items() if key not in _COSMETIC}
            for node in document.get("nodes") or ()
        }
        self.edges: dict[str, list[dict[str, Any]]] = {}
        for edge in document.get("edges") or ():
            counts = {key: value for key, value in edge.items() if key != "id"}
            self.edges.setdefault(str(edge.get("target", edge.get("to"))), []).append(counts)

    def sources(self, node: str) -> list[str]:
        return [str(edge.get("source", edge.get("from"))) for edge in self.edges.get(node, ())]


_COSMETIC = frozenset({"name", "position", "description"})


def _is_alike(node: str, *, old: _Graph, new: _Graph) -> bool:
    seen: set[str] = set()
    ahead = [node]
    while ahead:
        each = ahead.pop()
        if each in seen:
            continue
        seen.add(each)
        if old.nodes.get(each) != new.nodes.get(each) or old.edges.get(each) != new.edges.get(each):
            return False
        ahead += new.sources(each)
    return True
