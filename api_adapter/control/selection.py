"""Which nodes of a pipeline a run takes."""

from collections.abc import Collection, Sequence

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
