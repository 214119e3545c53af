"""`planasonix cancel`: have a run stopped, or all runs of some kind."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from api_adapter.client import RunsClient
from api_adapter.commands.display import STATUS_STYLES, show_json, show_rows, told_count
from api_adapter.commands.errors import ExitCode
from api_adapter.commands.finding import RunId, find_pipeline
from api_adapter.commands.following import exit_code_of, follow_run, is_anybody_there
from api_adapter.commands.options import Since, Words, json_option, service_option
from api_adapter.commands.progress import open_progress
from api_adapter.commands.service import opened_client

Json = Mapping[str, Any]

_ONE_OR_MANY = "give the id of a RUN, or say which runs by --pipeline, --status, --trigger, --from or --to"
_ENDED_AS_ASKED = {ExitCode.CANCELED: ExitCode.SUCCEEDED, ExitCode.SUCCEEDED: ExitCode.FAILED}


@click.command("cancel")
@click.argument("run_id", type=RunId(), metavar="[RUN]", required=False)
@click.option("--wait", is_flag=True, help="Stay until the run has ended.")
@click.option("--pipeline", type=Words(), metavar="ID|NAME", help="Without RUN: all runs of this pipeline.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["queued", "running"]),
    help="All runs in this state; repeat it. Default: both.",
)
@click.option("--trigger", "triggers", multiple=True, type=Words(), metavar="KIND", help="All that this started.")
@click.option("--from", "start", type=Since(), metavar="TIME", help="All that started then or later.")
@click.option("--to", "end", type=Since(), metavar="TIME", help="All that started then or before.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="The most of them, the newest first."
)
@click.option("--dry-run", is_flag=True, help="Only show which runs these are.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@service_option
@json_option
@click.pass_context
def cancel_command(
    context: click.Context,
    *,
    run_id: str | None,
    wait: bool,
    pipeline: str | None,
    statuses: Sequence[str],
    triggers: Sequence[str],
    start: str | None,
    end: str | None,
    limit: int,
    dry_run: bool,
    yes: bool,
    state: Path | None,
    as_json: bool,
) -> None:
    """Ask that a run be canceled, or all runs of some kind; asking again changes nothing.

    On a terminal it asks before it cancels runs by their kind.

    Exit code 0: it will be, or with --wait was; 1: the run had succeeded or failed before.
    """
    kind = {
        "pipelineId": pipeline,
        "status": list(statuses),
        "trigger": [word for text in triggers for word in text.split(",")],
        "from": start,
        "to": end,
    }
    kind = {name: value for name, value in kind.items() if value}
    if (run_id is None) == (not kind):
        raise click.UsageError(_ONE_OR_MANY)
    if wait if run_id is None else dry_run:
        raise click.UsageError("--wait goes with a RUN, --dry-run with others")
    with opened_client(context, state=state) as client:
        if run_id is not None:
            context.exit(_cancel_one(client, run_id, wait=wait, as_json=as_json))
        if pipeline is not None:
            kind["pipelineId"] = find_pipeline(client, pipeline)
        _cancel_many(client, kind, limit=limit, dry_run=dry_run, asks=not yes and is_anybody_there(), as_json=as_json)


def _cancel_one(client: RunsClient, run_id: str, *, wait: bool, as_json: bool) -> ExitCode:
    answer = client.cancel_run(run_id)
    if not wait:
        if as_json:
            show_json(answer)
        else:
            click.echo(answer["message"] if sys.stdout.isatty() else f"{answer['id']}\t{answer['status']}")
        return ExitCode.SUCCEEDED
    run, nodes = follow_run(client, run_id, progress=open_progress())
    if as_json:
        show_json({**run, "nodes": nodes})
    elif not sys.stdout.isatty():
        click.echo(f"{run['id']}\t{run['status']}")
    code = exit_code_of(run)
    if code is ExitCode.GOING_ON:
        click.echo(f"It is still being canceled: `planasonix show {run_id}` tells whether it has ended.", err=True)
    return _ENDED_AS_ASKED.get(code, code)


def _cancel_many(client: RunsClient, kind: Json, *, limit: int, dry_run: bool, asks: bool, as_json: bool) -> None:
    """Cancel runs of a kind; where there is somebody to ask, show first which these are."""
    if asks and not dry_run:
        found = client.cancel_runs(kind, limit=limit, dry_run=True)
        if found["data"]:
            click.echo("\n".join(f"{run['id']}  {run['status']}" for run in found["data"]), err=True)
            click.confirm(f"Cancel {_counted(found)}?", abort=True, err=True)
    answer = client.cancel_runs(kind, limit=limit, dry_run=dry_run)
    if as_json:
        show_json(answer)
    elif answer["data"]:
        rows = [[run["id"], run["status"]] for run in answer["data"]]
        show_rows(("ID", "STATUS"), rows, cell_styles={"STATUS": STATUS_STYLES})
    verb = "Would cancel" if dry_run else "Asked to cancel"
    click.echo(f"{verb} {_counted(answer)}." if answer["data"] else "There are no such runs.", err=True)


def _counted(answer: Json) -> str:
    """Return how many runs there are, of how many where a limit held some back."""
    meta = answer["meta"]
    number, matched = len(answer["data"]) if meta["dryRun"] else meta["requested"], meta["matched"]
    of_more = f" of {told_count(matched)}, the newest (--limit takes more)" if matched > len(answer["data"]) else ""
    return f"{told_count(number)} run{'' if number == 1 else 's'}{of_more}"
