"""`planasonix backfill`: run a pipeline for each slice of a range of time, and see to the whole."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from api_adapter.client import RunsClient
from api_adapter.commands.display import STATUS_STYLES, show_facts, show_json, show_rows, told_second
from api_adapter.commands.finding import find_pipeline
from api_adapter.commands.options import Words, json_option, service_option
from api_adapter.commands.run import Assignment, typed_variables
from api_adapter.commands.service import opened_client

Json = Mapping[str, Any]

_TITLES = ("ID", "PIPELINE", "STATUS", "DONE", "FROM", "TO")
_backfill_argument = click.argument("backfill_id", type=Words(), metavar="BACKFILL")


@click.group("backfill")
def backfill_command() -> None:
    """Run a pipeline once for each slice of a range of time."""


@backfill_command.command("start")
@click.argument("pipeline", type=Words())
@click.option("--from", "start", type=Words(), required=True, metavar="TIME", help="Begin: a date or a timestamp.")
@click.option(
    "--to", "end", type=Words(), required=True, metavar="TIME", help="End: a date, with its whole day, or a timestamp."
)
@click.option(
    "--step",
    type=Words(),
    metavar="STEP",
    help="hour, day, week, month, year, or an ISO 8601 duration such as PT6H. Default: day.",
)
@click.option("--schedule", type=Words(), metavar="ID", help="Slice at the fires of this schedule instead.")
@click.option("--timezone", type=Words(), metavar="ZONE", help="Of the bounds and of days. Default: UTC.")
@click.option("--latest-first", is_flag=True, help="Run the latest slices first.")
@click.option(
    "--at-once",
    type=click.IntRange(0, 1000),
    default=1,
    show_default=True,
    metavar="NUMBER",
    help="How many slices run at once; 0: as many as the queue takes.",
)
@click.option(
    "--var", "variables", multiple=True, type=Assignment(), metavar="NAME=VALUE", help="The value of a variable."
)
@click.option("--env", "environment_id", type=Words(), metavar="ID", help="The environment to run in.")
@click.option("--dry-run", is_flag=True, help="Only show the slices.")
@service_option
@json_option
@click.pass_context
def start_command(
    context: click.Context,
    *,
    pipeline: str,
    start: str,
    end: str,
    step: str | None,
    schedule: str | None,
    timezone: str | None,
    latest_first: bool,
    at_once: int,
    variables: Sequence[tuple[str, str]],
    environment_id: str | None,
    dry_run: bool,
    state: Path | None,
    as_json: bool,
) -> None:
    """Queue a run of PIPELINE (its id, or its name) for each slice of a range: all of them, or none."""
    with opened_client(context, state=state) as client:
        pipeline_id = find_pipeline(client, pipeline)
        body = {
            "from": start,
            "to": end,
            "step": step,
            "scheduleId": schedule,
            "timezone": timezone,
            "order": "descending" if latest_first else "ascending",
            "variables": typed_variables(client, pipeline_id, given=dict(variables)),
            "environmentId": environment_id,
            "dryRun": dry_run,
        }
        given: dict[str, Any] = {name: value for name, value in body.items() if value is not None}
        given["maxConcurrentRuns"] = at_once or None  # where null means something
        answer = client.start_backfill(pipeline_id, idempotency_key=uuid4().hex, body=given)
    if as_json:
        show_json(answer)
    elif dry_run:
        rows = [[one["ds"], one["scheduledAt"], one["end"]] for one in answer["slices"]]
        show_rows(("SLICE", "FROM", "TO"), rows)
    else:
        _show(answer)


@backfill_command.command("list")
@click.option("--pipeline", type=Words(), metavar="ID|NAME", help="Only backfills of this pipeline.")
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="The most to show.")
@service_option
@json_option
@click.pass_context
def list_command(
    context: click.Context, *, pipeline: str | None, limit: int, state: Path | None, as_json: bool
) -> None:
    """List backfills, the newest first, and how far each has come."""
    with opened_client(context, state=state) as client:
        pipeline_id = find_pipeline(client, pipeline) if pipeline else None
        answer = client.list_backfills(pipeline_id=pipeline_id, limit=limit)
    if as_json:
        show_json(answer)
        return
    rows = [
        [
            each["id"],
            each["pipelineId"],
            each["status"],
            f"{each['progress']['done']}/{each['progress']['total']}",
            told_second(each["from"]),
            told_second(each["to"]),
        ]
        for each in answer["data"]
    ]
    show_rows(_TITLES, rows, cell_styles={"STATUS": STATUS_STYLES}, right=("DONE",))


@backfill_command.command("show")
@_backfill_argument
@service_option
@json_option
@click.pass_context
def show_command(context: click.Context, *, backfill_id: str, state: Path | None, as_json: bool) -> None:
    """Show how far a backfill has come, and the newest run of each slice."""
    with opened_client(context, state=state) as client:
        backfill = client.read_backfill(backfill_id)
        slices = _slices(client, backfill_id)
    if as_json:
        show_json({**backfill, "slices": slices})
        return
    _show(backfill)
    rows = [[told_second(one["scheduledAt"]), one["runId"], one["status"], str(one["attempts"])] for one in slices]
    click.echo()
    show_rows(("SLICE", "RUN", "STATUS", "RUNS"), rows, cell_styles={"STATUS": STATUS_STYLES}, right=("RUNS",))


@backfill_command.command("cancel")
@_backfill_argument
@service_option
@json_option
@click.pass_context
def cancel_command(context: click.Context, *, backfill_id: str, state: Path | None, as_json: bool) -> None:
    """Ask that all runs of a backfill be canceled that have not ended."""
    with opened_client(context, state=state) as client:
        _show_action(client.cancel_backfill(backfill_id), as_json=as_json)


@backfill_command.command("retry")
@_backfill_argument
@service_option
@json_option
@click.pass_context
def retry_command(context: click.Context, *, backfill_id: str, state: Path | None, as_json: bool) -> None:
    """Run the slices again that have failed or were canceled, and only those."""
    with opened_client(context, state=state) as client:
        _show_action(client.retry_backfill(backfill_id), as_json=as_json)


def _slices(client: RunsClient, backfill_id: str) -> list[Json]:
    page = client.list_slices(backfill_id)
    slices = list(page["data"])
    while page["meta"]["cursor"] is not None:
        page = client.list_slices(backfill_id, cursor=page["meta"]["cursor"])
        slices += page["data"]
    return slices


def _show(backfill: Json) -> None:
    progress = ", ".join(f"{number} {name}" for name, number in backfill["progress"].items())
    facts = [
        ("id", backfill["id"]),
        ("pipeline", backfill["pipelineId"]),
        ("status", backfill["status"]),
        ("slices", progress),
        ("range", f"{told_second(backfill['from'])} to {told_second(backfill['to'])}"),
        ("by", backfill["createdBy"]),
    ]
    show_facts(facts, styles={"status": STATUS_STYLES.get(backfill["status"], "")})


def _show_action(answer: Json, *, as_json: bool) -> None:
    if as_json:
        show_json(answer)
        return
    for run_id in answer["runs"]:
        click.echo(run_id)
