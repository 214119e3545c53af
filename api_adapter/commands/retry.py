"""`planasonix retry`: run again what failed or was canceled."""

from pathlib import Path
from uuid import uuid4

import click

from api_adapter.commands.finding import RunId
from api_adapter.commands.following import see_through
from api_adapter.commands.options import follow_options, json_option, service_option
from api_adapter.commands.service import opened_client


@click.command("retry")
@click.argument("run_id", type=RunId(), metavar="RUN")
@click.option("--from-start", is_flag=True, help="Run every node again, those too that had succeeded.")
@follow_options
@service_option
@json_option
@click.pass_context
def retry_command(
    context: click.Context,
    *,
    run_id: str,
    from_start: bool,
    follow: bool,
    wait: float | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Try a run again that has failed or was canceled: the nodes that did not succeed, and show how that gets on.

    Exit codes are those of `planasonix run`.
    """
    with opened_client(context, state=state) as client:
        started = client.retry_run(run_id, idempotency_key=uuid4().hex, from_failure=not from_start)
        context.exit(see_through(client, started, follow=follow, wait=wait, as_json=as_json))
