"""Decides which steps keep their rows, and which go on as views that their readers compute."""

from collections import Counter
from dataclasses import dataclass, replace

from planasonix_orchestrator.compiler.draft import Draft, DraftStep
from planasonix_orchestrator.compiler.plan import Storage

# Each view that may change the number of rows is counted, and its count computes all views before it once more.
# Measured with filters over 5 million rows of Parquet: six such counts take 0.3 s, keeping the rows 0.25 to 0.7 s.
COUNTED_IN_A_ROW = 6
# Even views that need no count are planned anew, with all before them, by every statement on the last.
NESTED = 32
# Keeping costs many times what computing a cheap view costs, so a few readers may each compute it.
READERS_OF_A_CHEAP_VIEW = 8


def place_rows(draft: Draft) -> Draft:
    """Give every step its storage with the reason; expects the steps in order.

    Measured on 10 million rows, keeping the rows of every step costs 25 times one pushed-together query, so rows are
    kept only where computing them again would be dear, or would not give the same rows.
    """
    readers = Counter(each.node_id for step in draft.steps for each in step.inputs)
    groups: dict[str, _Group] = {}
    steps = []
    for step in draft.steps:
        group = _Group.of(step, [groups[each.node_id] for each in step.inputs])
        storage, reason = _storage(step, group, readers=readers[step.node.id])
        groups[step.node.id] = group if storage == "view" else _Group()
        steps.append(replace(step, storage=storage, storage_reason=reason))
    return draft.having(steps=steps)


@dataclass(frozen=True, slots=True)
class _Group:
    """What reading a view computes: the views back to the nearest kept rows."""

    counted: int = 0
    nested: int = 0
    dear: str | None = None  # the step that makes it so

    @classmethod
    def of(cls, step: DraftStep, inputs: "list[_Group]") -> "_Group":
        is_counted = bool(step.inputs) and not step.node_type.keeps_rows
        is_dear = step.node_type.dear or len(step.inputs) > 1
        return cls(
            counted=max((group.counted for group in inputs), default=0) + is_counted,
            nested=max((group.nested for group in inputs), default=0) + 1,
            dear=step.node.id if is_dear else next((group.dear for group in inputs if group.dear), None),
        )


def _storage(step: DraftStep, group: _Group, *, readers: int) -> tuple[Storage, str]:
    if not step.node_type.outputs:
        return "none", "its rows leave the pipeline here"
    if step.node_type.materialised:
        again = "computing it" if step.node_type.inputs else "reading it"
        return "table", f"{again} again would be dear, or could give other rows"
    if step.sql_reason:
        return "table", step.sql_reason
    if readers > 1 and group.dear:
        what = "which is" if group.dear == step.node.id else f"which includes {group.dear!r},"
        return "table", f"{readers} steps read it, and computing it, {what} dear, is done once"
    if readers > READERS_OF_A_CHEAP_VIEW:
        return "table", f"{readers} steps read it"
    if group.counted > COUNTED_IN_A_ROW:
        return "table", f"{COUNTED_IN_A_ROW} views in a row come before it, and counting each step computes them again"
    if group.nested > NESTED:
        return "table", f"{NESTED} views come before it, and each statement plans them all again"
    if readers > 1:
        return "view", f"cheap enough to be computed by each of the {readers} steps that read it"
    return (
        "view",
        "computed together with the step that reads it" if readers else "nothing reads it",
    )
