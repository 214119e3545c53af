"""`planasonix cancel`: have a run stopped."""

import sys
from pathlib import Path

import click

from api_adapter.commands.display import show_json
from api_adapter.commands.errors import ExitCode
from api_adapter.commands.finding import RunId
from api_adapter.commands.following import exit_code_of, follow_run
from api_adapter.commands.options import json_option, service_option
from api_adapter.commands.progress import open_progress
from api_adapter.commands.service import opened_client


@click.command("cancel")
@click.argument("run_id", type=RunId(), metavar="RUN")
@click.option("--wait", is_flag=True, help="Stay until the run has ended.")
@service_option
@json_option
@click.pass_context
def cancel_command(context: click.Context, *, run_id: str, wait: bool, state: Path | None, as_json: bool) -> None:
    """Ask that a run be canceled; asking again changes nothing.

    Exit code 0: it will be, or with --wait was; 1: it had succeeded or failed before.
    """
    with opened_client(context, state=state) as client:
        answer = client.cancel_run(run_id)
        if not wait:
            if as_json:
                show_json(answer)
            else:
                click.echo(answer["message"] if sys.stdout.isatty() else f"{answer['id']}\t{answer['status']}")
            return
        run, nodes = follow_run(client, run_id, progress=open_progress())
    if as_json:
        show_json({**run, "nodes": nodes})
    elif not sys.stdout.isatty():
        click.echo(f"{run['id']}\t{run['status']}")
    code = exit_code_of(run)
    if code is ExitCode.GOING_ON:
        click.echo(f"It is still being canceled: `planasonix show {run_id}` tells whether it has ended.", err=True)
    context.exit({ExitCode.CANCELED: ExitCode.SUCCEEDED, ExitCode.SUCCEEDED: ExitCode.FAILED}.get(code, code))
