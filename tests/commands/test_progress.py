"""What of a run fits on a terminal."""

from typing import Any

from rich.console import Console

from api_adapter.commands.progress import render

RUN = {
    "id": "run_1",
    "status": "running",
    "durationSeconds": 61.5,
    "finishedAt": None,
    "cancelRequestedAt": None,
}


def node(node_id: str, *, status: str, **figures: Any) -> dict[str, Any]:
    ended = status not in {"pending", "queued", "running"}
    return {
        "nodeId": node_id,
        "type": "transform.sql",
        "status": status,
        "finishedAt": "2025-03-27T02:00:00Z" if ended else None,
        "durationSeconds": None,
        "retries": 0,
        "metrics": {},
        **figures,
    }


def shown(nodes: list[dict[str, Any]], *, height: int = 40, run: dict[str, Any] = RUN) -> list[str]:
    console = Console(width=100, color_system=None)
    with console.capture() as captured:
        console.print(render(run, nodes, height=height))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_rows_are_those_that_left_a_node_or_went_into_it() -> None:
    """With their rate; nothing where there is no figure, or no time."""
    lines = shown(
        [
            node("n_a", status="succeeded", metrics={"rowsIn": 9, "rowsOut": 3_000_000}, durationSeconds=1.5),
            node("n_b", status="succeeded", metrics={"rowsIn": 7}, durationSeconds=0),
            node("n_c", status="running", durationSeconds=75),
        ]
    )
    assert lines[0] == "run_1 running 1m02s"
    assert lines[2].split() == ["n_a", "transform.sql", "succeeded", "3,000,000", "2,000,000", "1.50s"]
    assert lines[3].split() == ["n_b", "transform.sql", "succeeded", "7", "0.00s"]
    assert lines[4].split() == ["n_c", "transform.sql", "running", "1m15s"]


def test_where_not_all_nodes_fit_those_that_matter_are_shown() -> None:
    """Failed and running ones before others, in the order of the graph, and how many there are in all."""
    nodes = [node(f"n_{number}", status="succeeded") for number in range(100)]
    nodes[50] = node("n_50", status="running")
    nodes[70] = node("n_70", status="failed")
    nodes[90] = node("n_90", status="pending")
    lines = shown(nodes, height=9)
    assert len(lines) <= 8
    assert [line.split()[0] for line in lines[2:-1]] == ["n_0", "n_1", "n_50", "n_70"]
    assert lines[-1] == "100 nodes, 98 ended; 4 shown"


def test_a_run_that_is_being_canceled_says_so() -> None:
    """Until it has ended."""
    asked = {**RUN, "cancelRequestedAt": "2025-03-27T02:00:00Z"}
    assert shown([], run=asked) == ["run_1 canceling 1m02s"]
    ended = {**asked, "status": "canceled", "finishedAt": "2025-03-27T02:00:01Z"}
    assert shown([], run=ended) == ["run_1 canceled 1m02s"]


def test_names_command_no_terminal() -> None:
    """Nor are they taken for markup."""
    lines = shown([node("n_\x1b[2J", status="running", type="[red]x")])
    assert lines[2].split() == ["n_\\x1b[2J", "[red]x", "running"]
