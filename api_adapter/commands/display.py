"""How commands show lists: a table on a terminal, tab-separated lines in a pipe, JSON for programs."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from api_adapter.legible import legible

_WORDS_FOR_ROWS = ("rowsOut", "rowsIn")  # what left the node; of a destination, what went into it
_UNITS = ("B", "kB", "MB", "GB", "TB")

STATUS_STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "failed": "bold red",
    "canceled": "magenta",
    "skipped": "dim",
    "pending": "dim",
    "reused": "dim green",
}


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=sys.stdout.isatty()))  # some characters command a terminal


def show_rows(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    styles: Mapping[str, str] | None = None,
    cell_styles: Mapping[str, Mapping[str, str]] | None = None,
    right: Collection[str] = (),
) -> None:
    """Print rows of cells.

    In a table, `styles` colour whole rows by the text of their last cell, `cell_styles` cells by title and text; the
    columns of the titles in `right` end on one line.
    """
    rows = [[legible(" ".join(cell.split())) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, title in enumerate(titles):
        table.add_column(title, justify="right" if title in right else "left", no_wrap=place == 0)
    painted = [(cell_styles or {}).get(title, {}) for title in titles]
    for row in rows:
        cells = (Text(cell, style=paint.get(cell, "")) for cell, paint in zip(row, painted, strict=True))
        table.add_row(*cells, style=(styles or {}).get(row[-1]))
    Console(highlight=False).print(table)


def show_facts(facts: Sequence[tuple[str, str]], *, styles: Mapping[str, str] | None = None) -> None:
    """Print names and values, which may have several lines; `styles` colour values by their names on a terminal."""
    told = [(name, legible_lines(value, indent="")) for name, value in facts]
    if not sys.stdout.isatty():
        for name, value in told:
            click.echo(f"{name}\t{' '.join(value.splitlines())}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in told:
        table.add_row(Text(name, style="bold"), Text(value, style=(styles or {}).get(name, "")))
    Console(highlight=False).print(table)


def legible_lines(text: str, *, indent: str = "    ") -> str:
    """Return text of several lines, each legible, those after the first one indented."""
    return f"\n{indent}".join(legible(line.expandtabs(4)) for line in text.rstrip().splitlines())


def moment(at: datetime | None) -> str:
    """Return a time as the API writes it, to the second; nothing for None."""
    return json_moment(at.replace(microsecond=0)) or "" if at else ""


def json_moment(at: datetime | None) -> str | None:
    """Return a time as the API writes it."""
    from api_adapter.timestamps import format_timestamp  # which loads pydantic: not for every command

    return format_timestamp(at) if at else None


def told_second(timestamp: str | None) -> str:
    """Return a timestamp of the API to the second; nothing for None."""
    return f"{timestamp[:19]}Z" if timestamp else ""


def told_duration(seconds: float | None) -> str:
    """Return seconds as people read them: ``0.42s``, ``12.3s``, ``2m05s``, ``1h02m``; nothing for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def told_count(number: float | None, *, apart: bool = True) -> str:
    """Return a whole number, its thousands `apart` for people, ``336,776``; nothing for None."""
    return "" if number is None else f"{number:,.0f}" if apart else f"{number:.0f}"


def told_bytes(number: float) -> str:
    """Return a number of bytes as people read it, ``734.0 MB``."""
    power = 0
    while number >= 1000 and power < len(_UNITS) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.1f} {_UNITS[power]}" if power else f"{number:.0f} B"


def state_of(node: Mapping[str, Any]) -> str:
    """Return the status of a node; ``reused`` if it succeeded in a run before this one, which is a retry of that."""
    return "reused" if node.get("reusedFrom") else str(node["status"])


def rows_of(node: Mapping[str, Any]) -> int | None:
    """Return the rows that left a node, of a destination those that went in; None where they are not known."""
    return next((node["metrics"][word] for word in _WORDS_FOR_ROWS if word in node["metrics"]), None)


def rate_of(node: Mapping[str, Any]) -> float | None:
    """Return the rows of a node by the second; None where they are not known, or it took no time to speak of."""
    rows, seconds = rows_of(node), node["durationSeconds"]
    return rows / seconds if rows is not None and seconds else None
