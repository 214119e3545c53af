"""What the demo shows: nodes while they run, the run as the API tells it, the first rows of a result."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.syntax import Syntax
from rich.table import Table

Json = dict[str, Any]

_STYLES = {"succeeded": "green", "failed": "red", "canceled": "yellow", "running": "cyan"}


def show_progress(looks: Iterable[tuple[Json, list[Json]]], *, console: Console) -> tuple[Json, list[Json]]:
    """Show each look at a run until the last one, and return that one.

    On a terminal one table changes in place; in a pipe there is a line for each change of a node's status.
    """
    last: tuple[Json, list[Json]] = {}, []
    if console.is_terminal:
        with Live(console=console, refresh_per_second=10, transient=True) as live:
            for last in looks:
                run, nodes = last
                live.update(nodes_table(nodes, title=f"{run['id']}  {run['status']}"))
        return last
    seen: dict[str, str] = {}
    for last in looks:
        for node in last[1]:
            if node["startedAt"] and seen.get(node["nodeId"]) != node["status"]:
                seen[node["nodeId"]] = node["status"]
                console.print(f"  {node['nodeId']:<16} {node['status']:<10} {_rows(node)}".rstrip(), highlight=False)
    return last


def nodes_table(nodes: Sequence[Json], *, title: str) -> Table:
    """Return a table of a run's nodes: type, status, when it started, how long it took, rows in and out."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in ("node", "type", "status", "started"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seconds", "rows in", "rows out"):
        table.add_column(heading, justify="right", no_wrap=True)
    for node in nodes:
        metrics = node.get("metrics") or {}
        table.add_row(
            node["nodeId"],
            node["type"],
            f"[{_STYLES.get(node['status'], 'dim')}]{node['status']}",
            _clock(node["startedAt"]),
            _seconds(node["startedAt"], node["finishedAt"]),
            _count(metrics.get("rowsIn")),
            _count(metrics.get("rowsOut")),
        )
    return table


def rows_table(columns: Sequence[str], *, rows: Sequence[Sequence[object]], title: str) -> Table:
    """Return a table of data rows."""
    table = Table(*columns, title=title, title_justify="left", box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(str(value) for value in row))
    return table


def show_json(body: Json, *, console: Console) -> None:
    """Print a JSON answer, indented."""
    text = json.dumps(body, indent=2)
    console.print(Syntax(text, "json", background_color="default") if console.is_terminal else text, highlight=False)


def _rows(node: Json) -> str:
    metrics = node.get("metrics") or {}
    return "  ".join(f"{name} {metrics[name]:,}" for name in ("rowsIn", "rowsOut") if metrics.get(name) is not None)


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _clock(timestamp: str | None) -> str:
    return "" if timestamp is None else f"{datetime.fromisoformat(timestamp):%H:%M:%S}"


def _seconds(start: str | None, end: str | None) -> str:
    if start is None or end is None:
        return ""
    return f"{(datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds():.2f}"
