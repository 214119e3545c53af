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

from benchmarks.frame import Outcome

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
    for heading in ("ours", "stock", "limit", "stock / ours", "ours / limit"):
        table.add_column(heading, justify="right")
    table.add_column("goal")
    table.add_column("met")
    for outcome in outcomes:
        table.add_row(
            outcome.name,
            _figure(outcome.ours, unit=outcome.unit),
            _figure(outcome.stock, unit=outcome.unit),
            _figure(outcome.limit, unit=outcome.unit),
            _figure(outcome.ratio_stock),
            _figure(outcome.ratio_limit),
            outcome.goal,
            "[green]yes" if outcome.met else "[red]no",
        )
    console.print(table)
    console.print(
        " · ".join(f"{name} {value}" for name, value in machine_facts().items()), style="dim", highlight=False
    )


def _figure(value: float | None, *, unit: str = "") -> str:
    return "" if value is None else f"{value:,.3g} {unit}".strip()
