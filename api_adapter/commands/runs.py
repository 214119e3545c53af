"""`planasonix runs`: the runs that there are."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from api_adapter.client import RunsClient
from api_adapter.commands.display import STATUS_STYLES, show_json, show_rows, told_duration, told_second
from api_adapter.commands.finding import find_pipeline
from api_adapter.commands.options import Since, Words, json_option, service_option
from api_adapter.commands.service import opened_client

_LARGEST_PAGE = 500
_TITLES = ("ID", "PIPELINE", "STATUS", "TRIGGER", "STARTED", "TOOK")


@click.command("runs")
@click.option("--pipeline", type=Words(), metavar="ID|NAME", help="Only runs of this pipeline.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=Words(),
    metavar="STATUS",
    help="Only runs in this state; repeat it, or use commas.",
)
@click.option(
    "--trigger",
    "triggers",
    multiple=True,
    type=Words(),
    metavar="KIND",
    help="Only runs that this started, as schedule or manual; repeat it, or use commas.",
)
@click.option(
    "--from",
    "start",
    type=Since(),
    metavar="TIME",
    help="Only runs that started then or later: a date, a time, or a duration such as 24h.",
)
@click.option(
    "--to", "end", type=Since(), metavar="TIME", help="Only runs that started then or before; a date includes its day."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="NUMBER", help="The most to show."
)
@click.option("--all", "everything", is_flag=True, help="Show all, however many there are.")
@service_option
@json_option
@click.pass_context
def runs_command(
    context: click.Context,
    *,
    pipeline: str | None,
    statuses: Sequence[str],
    triggers: Sequence[str],
    start: str | None,
    end: str | None,
    limit: int,
    everything: bool,
    state: Path | None,
    as_json: bool,
) -> None:
    """List runs, the newest first.

    States are queued, running, succeeded, failed and canceled.
    """
    with opened_client(context, state=state) as client:
        filters = {
            "pipelineId": find_pipeline(client, pipeline) if pipeline else None,
            "status": list(statuses),
            "trigger": list(triggers),
            "from": start,
            "to": end,
        }
        pages = _pages(client, filters, limit=None if everything else limit)
        if as_json:
            told = list(pages)
            show_json({"data": [run for page, _ in told for run in page], "meta": {"cursor": told[-1][1]}})
        elif sys.stdout.isatty():
            _show([run for page, _ in pages for run in page])
        else:
            for page, _ in pages:
                _show(page)


def _pages(
    client: RunsClient, filters: Mapping[str, Any], *, limit: int | None
) -> Iterator[tuple[Sequence[Mapping[str, Any]], str | None]]:
    """Yield pages of runs, as many as hold so many runs, each with the cursor behind it."""
    cursor = None
    while limit is None or limit > 0:
        page = client.list_runs(filters, limit=min(limit or _LARGEST_PAGE, _LARGEST_PAGE), cursor=cursor)
        runs, cursor = page["data"], page["meta"]["cursor"]
        yield runs, cursor
        if cursor is None:
            return
        limit = None if limit is None else limit - len(runs)


def _show(runs: Sequence[Mapping[str, Any]]) -> None:
    show_rows(
        _TITLES,
        [
            [
                run["id"],
                run["pipelineId"],
                run["status"],
                run["trigger"],
                told_second(run["startedAt"]),
                told_duration(run["durationSeconds"]),
            ]
            for run in runs
        ],
        cell_styles={"STATUS": STATUS_STYLES},
        right=("TOOK",),
    )
