"""Puts the steps into an order in which each stands after those it reads from."""

from planasonix_orchestrator.compiler.draft import Draft
from planasonix_orchestrator.graph.topology import topological_order


def order_steps(draft: Draft) -> Draft:
    """Sort the steps topologically; those that could stand in any order keep the document's."""
    by_id = {step.node.id: step for step in draft.steps}
    edges = [(each.node_id, step.node.id) for step in draft.steps for each in step.inputs]
    return draft.having(steps=(by_id[node_id] for node_id in topological_order(by_id, edges)))
