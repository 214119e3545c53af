"""Numbers the groups of steps that are pushed together into one query."""

from dataclasses import replace

from planasonix_orchestrator.compiler.draft import Draft


def number_stages(draft: Draft) -> Draft:
    """Give every step its stage, from 1 in the order of the steps; expects the storage to be decided.

    A view belongs to the stage of every step that reads it; kept rows end their stage.
    """
    parents = {step.node.id: step.node.id for step in draft.steps}
    views = {step.node.id for step in draft.steps if step.storage == "view"}
    for step in draft.steps:
        for each in step.inputs:
            if each.node_id in views:
                parents[_root(parents, each.node_id)] = _root(parents, step.node.id)
    numbers: dict[str, int] = {}
    steps = []
    for step in draft.steps:
        root = _root(parents, step.node.id)
        steps.append(replace(step, stage=numbers.setdefault(root, len(numbers) + 1)))
    return draft.having(steps=steps)


def _root(parents: dict[str, str], node_id: str) -> str:
    while parents[node_id] != node_id:
        parents[node_id] = parents[parents[node_id]]  # keeps the way short
        node_id = parents[node_id]
    return node_id
