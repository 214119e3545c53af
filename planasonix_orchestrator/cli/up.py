"""`planasonix up`: the whole stack in the foreground."""

import json
import shlex
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from planasonix_orchestrator.runtime.stack import DEFAULT_PORTS, RunningPart, run_stack
from planasonix_orchestrator.runtime.state import KEY_FILE
from planasonix_orchestrator.settings import Settings, load_settings


@click.command("up")
@click.option("--port", default=DEFAULT_PORTS.api, show_default=True, help="Port of the Runs API.")
@click.option("--dagster-port", default=DEFAULT_PORTS.webserver, show_default=True, help="Port of the Dagster UI.")
@click.option(
    "--pipelines",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder of pipelines. Default: PLANASONIX_PIPELINES, else ./pipelines.",
)
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the stack keeps its data. Default: PLANASONIX_STATE, else ./.planasonix.",
)
@click.option("--verbose", is_flag=True, help="Also print the logs of all parts as they grow.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as one line of JSON.")
def up_command(
    *, port: int, dagster_port: int, pipelines: Path | None, state: Path | None, verbose: bool, as_json: bool
) -> None:
    """Run Postgres, Dagster and the Runs API until Ctrl-C.

    Prints one table when all parts are well, and afterwards only what somebody should know. A port that is taken is
    replaced by a free one. Postgres is an embedded server, unless PLANASONIX_POSTGRES_URL names another.

    The first start makes an API key, prints it once, and keeps it in the file api-key of the state directory.
    """
    settings = chosen_settings(pipelines=pipelines, state=state)

    def when_well(parts: Sequence[RunningPart], first_key: str | None) -> None:
        show_parts(parts, as_json=as_json, first_key=first_key)
        if first_key is not None and not as_json:
            show_first_key(first_key, file=settings.state / KEY_FILE)
        if verbose:
            for running in parts:
                if running.part.log is not None:
                    threading.Thread(target=_follow, args=(running.part.name, running.part.log), daemon=True).start()

    run_stack(
        settings,
        wished=replace(DEFAULT_PORTS, api=port, webserver=dagster_port),
        when_well=when_well,
        tell=lambda line: click.echo(line, err=True),
    )


def chosen_settings(*, pipelines: Path | None, state: Path | None) -> Settings:
    """Return the environment's settings, with those that the command line names in their stead."""
    settings = load_settings()
    return replace(
        settings,
        pipelines=(pipelines or settings.pipelines).absolute(),
        state=(state or settings.state).absolute(),
    )


def show_parts(parts: Sequence[RunningPart], *, as_json: bool, first_key: str | None = None) -> None:
    """Print the parts as a table (plain in a pipe) or as one line of JSON, which has the first key too, if any."""
    if as_json:
        click.echo(json.dumps({**_as_json(parts), **({"firstKey": first_key} if first_key else {})}))
    else:
        _print_table(parts)


def show_first_key(key: str, *, file: Path) -> None:
    """Print the key of a first start on stderr, and how it is used."""
    click.echo(f"\nAPI key, shown this once and kept in {file}:\n  {key}", err=True)
    click.echo(f'Send it as: curl -H "Authorization: Bearer $(cat {shlex.quote(str(file))})" ...', err=True)


def _as_json(parts: Sequence[RunningPart]) -> dict[str, object]:
    return {
        "parts": [
            {
                "name": running.part.name,
                "url": running.part.url or None,
                "pid": running.pid,
                "log": str(running.part.log) if running.part.log else None,
            }
            for running in parts
        ]
    }


def _print_table(parts: Sequence[RunningPart]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000)  # a pipe must not cut paths
    table = Table(box=None, pad_edge=False)
    for title in ("PART", "URL", "PID", "LOG"):
        table.add_column(title, overflow="fold", justify="right" if title == "PID" else "left")
    for running in parts:
        table.add_row(running.part.name, running.part.url, str(running.pid or ""), str(running.part.log or ""))
    console.print(table)


def _follow(name: str, log: Path) -> None:
    with log.open(encoding="utf-8", errors="replace") as lines:
        lines.seek(0, 2)
        while True:
            line = lines.readline()
            if line:
                sys.stderr.write(f"[{name}] {line}")
            else:
                time.sleep(0.2)
