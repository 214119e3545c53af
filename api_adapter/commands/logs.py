"""`planasonix logs`: what a run has logged, and what it logs."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from api_adapter.client import LogEnd
from api_adapter.commands.display import legible_lines
from api_adapter.commands.finding import RunId
from api_adapter.commands.options import Since, Words, json_option, service_option
from api_adapter.commands.service import opened_client
from api_adapter.legible import legible

Json = Mapping[str, Any]

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_LEVEL_STYLES = {"debug": "dim", "info": "green", "warning": "yellow", "error": "bold red"}


@click.command("logs")
@click.argument("run_id", type=RunId(), metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Show each line as it comes, until the run has ended.")
@click.option("--node", type=Words(), metavar="ID", help="Only what this node has logged.")
@click.option(
    "--level",
    type=click.Choice(list(_LEVEL_STYLES)),
    default="info",
    show_default=True,
    help="The least that counts; debug adds what Dagster says to itself.",
)
@click.option(
    "--since",
    type=Since(),
    metavar="TIME",
    help="Only lines of then and later: a time, a duration such as 10m, or the cursor of the last line that you have.",
)
@service_option
@json_option
@click.pass_context
def logs_command(
    context: click.Context,
    *,
    run_id: str,
    follow: bool,
    node: str | None,
    level: str,
    since: str | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Show what a run has logged.

    With --json each line is an object of its own, and has the cursor behind which the rest follows.
    """
    show = _show_json if as_json else _shower()
    with opened_client(context, state=state) as client:
        read = client.follow_log if follow else client.read_log
        try:
            for line in read(run_id, nodeId=node, level=level, since=since):
                if isinstance(line, LogEnd):
                    click.echo(f"The run {'has ' + line.status if line.status else 'was deleted'}.", err=True)
                else:
                    show(line)
                    if follow:
                        sys.stdout.flush()
        except KeyboardInterrupt:
            context.exit(_INTERRUPTED)
    sys.stdout.flush()  # here click heeds a reader that has gone, as `head` does


def _show_json(line: Json) -> None:
    _write(json.dumps(line, ensure_ascii=sys.stdout.isatty()))  # some characters command a terminal


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # click's echo would flush each, which makes a long log twice as slow


def _shower() -> Callable[[Json], None]:
    """Return what prints a line where stdout goes: time, level, node (a dash for the run), message."""
    if not sys.stdout.isatty():
        return lambda line: _write("{} {:7} {}  {}".format(*_cells(line)))
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)

    def show(line: Json) -> None:
        at, level, node, message = _cells(line)
        style = _LEVEL_STYLES.get(line["level"], "")
        console.print(Text.assemble((at, "dim"), " ", (f"{level:7}", style), " ", (node, "cyan"), "  ", message))

    return show


def _cells(line: Json) -> tuple[str, str, str, str]:
    at = line["ts"] if "." in line["ts"] else f"{line['ts'][:19]}.000Z"  # columns that stand below each other
    return at, line["level"].upper(), legible(line["nodeId"] or "-"), legible_lines(line["message"])
