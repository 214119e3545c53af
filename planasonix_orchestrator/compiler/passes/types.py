"""Finds the node type of every node, by its full name or an alias."""

from planasonix_orchestrator.compiler.draft import Draft, DraftStep
from planasonix_orchestrator.nodes.catalog import UnknownNodeTypeError


def resolve_types(draft: Draft) -> Draft:
    """Make a step of every node whose type is known; `unknown_type` for the others."""
    steps, problems = [], []
    for place, node in enumerate(draft.document.nodes):
        try:
            node_type = draft.catalog.get(node.type)
        except UnknownNodeTypeError as error:
            hint = f"did you mean {error.nearest!r}?" if error.nearest else "`planasonix nodes` lists the node types"
            message = f"node {node.id!r}: unknown type {node.type!r}"
            path = ("nodes", place, "type")
            problems.append(draft.loaded.problem(code="unknown_type", message=message, path=path, hint=hint))
        else:
            steps.append(DraftStep(place=place, node=node, node_type=node_type, settings=node.config))
    return draft.having(steps=steps, problems=problems)
