"""How commands show lists: a table on a terminal, tab-separated lines in a pipe, JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from api_adapter.legible import legible
from api_adapter.timestamps import format_timestamp


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_rows(titles: Sequence[str], rows: Sequence[Sequence[str]], *, styles: Mapping[str, str] | None = None) -> None:
    """Print rows of cells; `styles` colour whole rows of a table by the text of their last cell."""
    rows = [[legible(" ".join(cell.split())) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row), style=(styles or {}).get(row[-1]))
    Console(highlight=False).print(table)


def moment(at: datetime | None) -> str:
    """Return a time as the API writes it, to the second; nothing for None."""
    return format_timestamp(at.replace(microsecond=0)) if at else ""


def json_moment(at: datetime | None) -> str | None:
    """Return a time as the API writes it."""
    return format_timestamp(at) if at else None
