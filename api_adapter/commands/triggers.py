"""`planasonix triggers`: what starts pipelines by itself, its switches, and what it has started."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import click

from api_adapter.commands.display import STATUS_STYLES, show_json, show_rows, told_second
from api_adapter.commands.errors import ExitCode
from api_adapter.commands.finding import find_pipeline
from api_adapter.commands.options import Words, json_option, service_option
from api_adapter.commands.service import opened_client

Json = Mapping[str, Any]

_TITLES = ("ID", "TYPE", "PIPELINE", "ENABLED", "NAME")
_STATES = ("queued", "running", "succeeded", "failed", "canceled")
_trigger_argument = click.argument("trigger_id", type=Words(), metavar="TRIGGER")


class CallHeader(click.ParamType[tuple[str, str]]):
    """A header as HTTP writes it, ``Name: value``."""

    name = "header"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return its name and its value."""
        if isinstance(value, tuple):
            return value
        name, colon, rest = value.partition(":")
        if not colon or not name.strip():
            self.fail(f"{value!r} is not a header such as 'X-Planasonix-Timestamp: 1743040800'", param, ctx)
        return name.strip(), rest.strip()


@click.group("triggers", invoke_without_command=True)
@click.option("--pipeline", type=Words(), metavar="ID|NAME", help="Only triggers of this pipeline.")
@click.option("--type", "trigger_type", type=Words(), metavar="TYPE", help="Only of this kind, as webhook.")
@click.option("--enabled/--disabled", default=None, help="Only those that are switched on, or off.")
@service_option
@json_option
@click.pass_context
def triggers_command(
    context: click.Context,
    *,
    pipeline: str | None,
    trigger_type: str | None,
    enabled: bool | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """List what starts pipelines by itself: webhooks, arrivals of files, other pipelines.

    The commands below switch a trigger, test it, and show what it has started.
    """
    if context.invoked_subcommand is not None:
        return
    filters: dict[str, Any] = {"trigger_type": trigger_type, "enabled": enabled}
    with opened_client(context, state=state) as client:
        if pipeline is not None:
            filters["pipeline_id"] = find_pipeline(client, pipeline)
        page = client.list_triggers(filters)
        triggers = list(page["data"])
        while page["meta"]["page"]["cursor"] is not None:
            page = client.list_triggers(filters, cursor=page["meta"]["page"]["cursor"])
            triggers += page["data"]
    if as_json:
        show_json({"data": triggers})
    else:
        _show(triggers)


@triggers_command.command("enable")
@_trigger_argument
@service_option
@json_option
@click.pass_context
def enable_command(context: click.Context, *, trigger_id: str, state: Path | None, as_json: bool) -> None:
    """Switch a trigger on, for good: a change of the document does not touch the switch."""
    _switch(context, trigger_id=trigger_id, on=True, state=state, as_json=as_json)


@triggers_command.command("disable")
@_trigger_argument
@service_option
@json_option
@click.pass_context
def disable_command(context: click.Context, *, trigger_id: str, state: Path | None, as_json: bool) -> None:
    """Switch a trigger off. Runs that it has started go on."""
    _switch(context, trigger_id=trigger_id, on=False, state=state, as_json=as_json)


@triggers_command.command("test")
@_trigger_argument
@click.option(
    "--header",
    "headers",
    multiple=True,
    type=CallHeader(),
    metavar="'NAME: VALUE'",
    help="Of a webhook: a header of the call to try, as its timestamp and its signature; repeat it.",
)
@click.option("--body", type=click.File("rb"), metavar="FILE", help="Of a webhook: the body of the call; - is stdin.")
@service_option
@json_option
@click.pass_context
def test_command(
    context: click.Context,
    *,
    trigger_id: str,
    headers: Sequence[tuple[str, str]],
    body: IO[bytes] | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Tell whether a trigger can do its work; nothing is started.

    Exit code 1: something is wrong with it.
    """
    call: dict[str, Any] = {"headers": dict(headers)} if headers else {}
    if body is not None:
        try:
            call["body"] = body.read().decode()
        except UnicodeDecodeError as error:
            raise click.UsageError("the body is not UTF-8, so that it is no JSON") from error
    with opened_client(context, state=state) as client:
        answer = client.test_trigger(trigger_id, call)
    told = answer["data"]["attributes"]
    if as_json:
        show_json(answer)
    else:
        rows = [[one["name"], "ok" if one["ok"] else "wrong", one["message"]] for one in told["checks"]]
        show_rows(("CHECK", "RESULT", ""), rows, cell_styles={"RESULT": {"ok": "green", "wrong": "bold red"}})
    context.exit(ExitCode.SUCCEEDED if told["ok"] else ExitCode.FAILED)


@triggers_command.command("executions")
@_trigger_argument
@click.option("--status", type=click.Choice(_STATES), help="Only those whose runs are in this state.")
@click.option("--limit", type=click.IntRange(1, 500), default=25, show_default=True, help="The most to show.")
@service_option
@json_option
@click.pass_context
def executions_command(
    context: click.Context, *, trigger_id: str, status: str | None, limit: int, state: Path | None, as_json: bool
) -> None:
    """List the runs that a trigger has started, the newest first, and what it had seen.

    Where it could not look, there is no run, but the reason.
    """
    with opened_client(context, state=state) as client:
        answer = client.list_trigger_executions(trigger_id, status=status, limit=limit)
    if as_json:
        show_json(answer)
        return
    told = [one["attributes"] for one in answer["data"]]
    rows = [
        [one["pipeline_run_id"] or "", one["status"], told_second(one["started_at"]), one["event_summary"] or ""]
        for one in told
    ]
    show_rows(("RUN", "STATUS", "STARTED", "EVENT"), rows, cell_styles={"STATUS": STATUS_STYLES})


def _switch(context: click.Context, *, trigger_id: str, on: bool, state: Path | None, as_json: bool) -> None:
    with opened_client(context, state=state) as client:
        answer = client.switch_trigger(trigger_id, on=on)
    if as_json:
        show_json(answer)
    else:
        _show([answer["data"]])


def _show(triggers: Sequence[Json]) -> None:
    rows = [
        [
            one["id"],
            one["attributes"]["trigger_type"],
            one["attributes"]["pipeline_id"],
            "yes" if one["attributes"]["enabled"] else "no",
            one["attributes"]["name"] or "",
        ]
        for one in triggers
    ]
    show_rows(_TITLES, rows, cell_styles={"ENABLED": {"yes": "green", "no": "dim"}})
