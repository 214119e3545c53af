"""Where rows are kept: only where computing them again is dear, or would not give the same."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from planasonix_orchestrator.compiler.passes.storage import COUNTED_IN_A_ROW, NESTED, READERS_OF_A_CHEAP_VIEW
from tests.compiler.folders import KEEP, NUMBERS, SHELF, Node, document, plan_of

COPY: Node = {"type": "transform.copy"}
PAIR: Node = {"type": "transform.pair"}


def test_a_short_pipeline_is_one_query(tmp_path: Path) -> None:
    """Views that are read once are pushed together into one stage, and nothing is kept."""
    plan = plan_of(tmp_path, document({"a": NUMBERS, "b": KEEP, "c": SHELF}, "a>b", "b>c"))
    assert [(step.storage, step.stage) for step in plan.steps] == [("view", 1), ("view", 1), ("none", 1)]


def test_a_node_type_can_ask_to_be_kept(tmp_path: Path) -> None:
    """`materialised` node types are computed once, and end their stage."""
    plan = plan_of(tmp_path, document({"a": {"type": "source.feed"}, "c": SHELF}, "a>c"))
    assert [(step.storage, step.stage) for step in plan.steps] == [("table", 1), ("none", 2)]


def test_sql_that_varies_is_kept(tmp_path: Path) -> None:
    """random() is computed once, so that everybody sees the same rows."""
    random = {"type": "keep", "config": {"expression": "random() > 0.5"}}
    plan = plan_of(tmp_path, document({"a": NUMBERS, "b": random, "c": SHELF}, "a>b", "b>c"))
    assert plan.step("b").storage == "table"


def test_a_cheap_view_may_be_read_by_several(tmp_path: Path) -> None:
    """A filter over a scan is computed by each of a few readers."""
    assert _shared(tmp_path, KEEP, readers=READERS_OF_A_CHEAP_VIEW).storage == "view"


def test_a_cheap_view_with_many_readers_is_kept(tmp_path: Path) -> None:
    """Past a few readers even a cheap view is computed once."""
    assert _shared(tmp_path, KEEP, readers=READERS_OF_A_CHEAP_VIEW + 1).storage == "table"


def test_what_is_dear_is_computed_once(tmp_path: Path) -> None:
    """A join that two steps read is kept, and so is a cheap view over it."""
    nodes = {"a": NUMBERS, "j": PAIR, "b": COPY, "x": SHELF, "y": SHELF}
    direct = plan_of(tmp_path, document(nodes, "a>j.left", "a>j.right", "j>b", "b>x", "j>y"))
    behind = plan_of(tmp_path, document(nodes, "a>j.left", "a>j.right", "j>b", "b>x", "b>y"))
    assert [direct.step(id_).storage for id_ in ("j", "b")] == ["table", "view"]
    assert [behind.step(id_).storage for id_ in ("j", "b")] == ["view", "table"]


def test_a_join_with_one_reader_goes_on_as_a_view(tmp_path: Path) -> None:
    """Counting a join is cheaper than keeping its rows."""
    plan = plan_of(tmp_path, document({"a": NUMBERS, "j": PAIR, "x": SHELF}, "a>j", "a>j.right", "j>x"))
    assert plan.step("j").storage == "view"


def test_a_chain_of_counted_views_is_cut(tmp_path: Path) -> None:
    """Each count computes the chain before it, so after a few steps the rows are kept, and the next chain begins."""
    kept = _kept_in_chain(tmp_path, [KEEP] * 2 * (COUNTED_IN_A_ROW + 1))
    assert kept == [COUNTED_IN_A_ROW, 2 * COUNTED_IN_A_ROW + 1]


def test_views_that_keep_their_rows_need_no_count(tmp_path: Path) -> None:
    """A chain of steps whose number of rows is known goes on much longer as views."""
    assert _kept_in_chain(tmp_path, [COPY] * (NESTED - 1)) == []
    assert _kept_in_chain(tmp_path, [COPY] * NESTED) == [NESTED - 1]


def test_views_that_one_step_reads_share_its_stage(tmp_path: Path) -> None:
    """A join pushes both of its sides together; a second component has a stage of its own."""
    nodes = {"a": NUMBERS, "z": NUMBERS, "b": NUMBERS, "j": PAIR}
    plan = plan_of(tmp_path, document(nodes, "a>j", "b>j"))
    assert {step.node_id: step.stage for step in plan.steps} == {"a": 1, "b": 1, "j": 1, "z": 2}


def _shared(folder: Path, node: Node, *, readers: int) -> Any:
    names = [f"r{number}" for number in range(readers)]
    nodes = {"a": NUMBERS, "b": node, **dict.fromkeys(names, SHELF)}
    return plan_of(folder, document(nodes, "a>b", *(f"b>{name}" for name in names))).step("b")


def _kept_in_chain(folder: Path, nodes: Iterable[Node]) -> list[int]:
    """Return the places, from 0, of the nodes of a chain behind a source that keep their rows."""
    chain = {"a": NUMBERS} | {f"n{place}": node for place, node in enumerate(nodes)}
    names = list(chain)
    plan = plan_of(folder, document(chain, *(f"{one}>{next_}" for one, next_ in pairwise(names))))
    return [int(step.node_id[1:]) for step in plan.steps if step.storage == "table"]
