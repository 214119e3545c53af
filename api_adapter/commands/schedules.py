"""`planasonix schedules`: when pipelines start by themselves; put that on and off, or run one now."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from api_adapter.client import RunsClient
from api_adapter.commands.display import show_json, show_rows, told_second
from api_adapter.commands.options import Words, json_option, service_option
from api_adapter.commands.run import Assignment, typed_variables
from api_adapter.commands.service import opened_client

Json = Mapping[str, Any]

_TITLES = ("ID", "PIPELINE", "CRON", "TIMEZONE", "ON", "NEXT", "LAST")
_schedule_argument = click.argument("schedule_id", type=Words(), metavar="SCHEDULE")


@click.group("schedules", invoke_without_command=True)
@service_option
@json_option
@click.pass_context
def schedules_command(context: click.Context, *, state: Path | None, as_json: bool) -> None:
    """List the schedules, and when each fires next."""
    if context.invoked_subcommand is not None:
        return
    with opened_client(context, state=state) as client:
        schedules = _all(client)
    if as_json:
        show_json({"data": schedules})
    else:
        show_rows(_TITLES, [_row(each) for each in schedules])


@schedules_command.command("enable")
@_schedule_argument
@service_option
@json_option
@click.pass_context
def enable_command(context: click.Context, *, schedule_id: str, state: Path | None, as_json: bool) -> None:
    """Put a schedule on."""
    _switch(context, schedule_id, on=True, state=state, as_json=as_json)


@schedules_command.command("disable")
@_schedule_argument
@service_option
@json_option
@click.pass_context
def disable_command(context: click.Context, *, schedule_id: str, state: Path | None, as_json: bool) -> None:
    """Put a schedule off. Runs that it has started go on."""
    _switch(context, schedule_id, on=False, state=state, as_json=as_json)


@schedules_command.command("run")
@_schedule_argument
@click.option(
    "--var", "variables", multiple=True, type=Assignment(), metavar="NAME=VALUE", help="The value of a variable."
)
@service_option
@json_option
@click.pass_context
def run_command(
    context: click.Context,
    *,
    schedule_id: str,
    variables: Sequence[tuple[str, str]],
    state: Path | None,
    as_json: bool,
) -> None:
    """Start a run as the schedule would now, and print its id."""
    with opened_client(context, state=state) as client:
        given: Mapping[str, Any] = {}
        if variables:
            pipeline_id = client.read_schedule(schedule_id)["data"]["attributes"]["pipeline_id"]
            given = typed_variables(client, pipeline_id, given=dict(variables))
        started = client.run_schedule(schedule_id, idempotency_key=uuid4().hex, variables=given)
    if as_json:
        show_json(started.run)
    else:
        click.echo(started.run["data"]["id"])


def _all(client: RunsClient) -> list[Json]:
    page = client.list_schedules()
    schedules = list(page["data"])
    while page["meta"]["page"]["cursor"] is not None:
        page = client.list_schedules(cursor=page["meta"]["page"]["cursor"])
        schedules += page["data"]
    return schedules


def _switch(context: click.Context, schedule_id: str, *, on: bool, state: Path | None, as_json: bool) -> None:
    with opened_client(context, state=state) as client:
        answer = client.switch_schedule(schedule_id, on=on)
    if as_json:
        show_json(answer)
    else:
        show_rows(_TITLES, [_row(answer["data"])])


def _row(schedule: Json) -> list[str]:
    told = schedule["attributes"]
    return [
        schedule["id"],
        told["pipeline_id"],
        told["cron_expression"],
        told["timezone"],
        "on" if told["enabled"] else "off",
        told_second(told["next_run_at"]),
        told_second(told["last_run_at"]),
    ]
