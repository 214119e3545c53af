"""What the demo prints while a run goes on."""

import io

from rich.console import Console

from examples.demo.display import show_progress


def node(node_id: str, status: str, **metrics: int) -> dict[str, object]:
    """A node as the API tells it."""
    started = None if status == "pending" else "2026-01-02T03:04:05Z"
    return {
        "nodeId": node_id,
        "type": "transform.filter",
        "status": status,
        "startedAt": started,
        "finishedAt": started if status == "succeeded" else None,
        "metrics": metrics,
    }


def test_in_a_pipe_each_change_of_a_node_is_one_line() -> None:
    """A status that stays as it is is not printed again; a node that has not begun is not printed at all."""
    looks = [
        ({"id": "run_1", "status": "queued"}, [node("a", "pending"), node("b", "pending")]),
        ({"id": "run_1", "status": "running"}, [node("a", "running"), node("b", "pending")]),
        ({"id": "run_1", "status": "running"}, [node("a", "running"), node("b", "pending")]),
        (
            {"id": "run_1", "status": "succeeded"},
            [node("a", "succeeded", rowsOut=1234), node("b", "succeeded", rowsIn=7)],
        ),
    ]
    output = io.StringIO()
    last = show_progress(looks, console=Console(file=output, width=100))
    assert last == looks[-1]
    assert [line.split() for line in output.getvalue().splitlines()] == [
        ["a", "running"],
        ["a", "succeeded", "rowsOut", "1,234"],
        ["b", "succeeded", "rowsIn", "7"],
    ]
