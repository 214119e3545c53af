"""The report of a benchmark run: a table for people, latest.json for machines."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.frame import SIDES, Outcome

_RATIOS = {
    "stock": "stock / ours",
    "instance": "instance / ours",
    "limit": "ours / limit",
    "base": "ours / base",
}
_PACKAGES = ("dagster", "duckdb", "pyarrow", "planasonix")


def machine_facts() -> dict[str, str | int | float]:
    """Return what the figures depend on: the machine and the versions of what was measured."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
    }


def write_latest(outcomes: Sequence[Outcome], *, path: Path, taken_at: datetime) -> None:
    """Write the outcomes and the machine's facts as JSON; the file is complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "taken_at": taken_at.isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "cases": [asdict(outcome) for outcome in outcomes],
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def print_table(outcomes: Sequence[Outcome], *, console: Console) -> None:
    """Print one line per case, then the machine's facts."""
    table = Table(title="Benchmarks, medians", title_justify="left")
    table.add_column("case", no_wrap=True)
    shown = [side for side in SIDES if any(getattr(outcome, side) is not None for outcome in outcomes)]
    compared = [(side, f"ratio_{side}") for side in shown if side != "ours"]
    for heading in (*shown, *(_RATIOS[side] for side, _ratio in compared)):
        table.add_column(heading, justify="right")
    table.add_column("goal")
    table.add_column("met")
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            *(_figure(getattr(outcome, side), unit=outcome.unit) for side in shown),
            *(_figure(getattr(outcome, ratio)) for _side, ratio in compared),
            outcome.goal,
            "[green]yes" if outcome.met else "[red]no",
        )
    console.print(table)
    for outcome in outcomes:
        if outcome.details:
            told = " · ".join(f"{name} {_figure(value)}" for name, value in outcome.details.items())
            console.print(f"{outcome.name}: {told}", highlight=False)
    console.print(
        " · ".join(f"{name} {value}" for name, value in machine_facts().items()), style="dim", highlight=False
    )


def _figure(value: float | None, *, unit: str = "") -> str:
    """Return three digits that count; seconds below one are told in milliseconds."""
    if value is None:
        return ""
    if unit == "s" and value < 1:
        value, unit = value * 1000, "ms"
    return f"{float(f'{value:.3g}'):,.10g} {unit}".strip()
