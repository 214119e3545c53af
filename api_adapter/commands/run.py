"""`planasonix run`: start a pipeline, and see its run through."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from api_adapter.client import RefusedError, RunsClient
from api_adapter.commands.finding import find_pipeline, is_pipeline_missing, pipeline_not_found
from api_adapter.commands.following import see_through
from api_adapter.commands.options import Words, follow_options, json_option, service_option
from api_adapter.commands.service import opened_client

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")


class Assignment(click.ParamType[tuple[str, str]]):
    """A variable and its value, as ``day=2025-03-27``."""

    name = "assignment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return the name and the value."""
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            self.fail(f"{value!r} must be a name and a value, as day=2025-03-27", param, ctx)
        return name.strip(), text


@click.command("run")
@click.argument("pipeline", type=Words())
@click.option(
    "--var",
    "variables",
    multiple=True,
    type=Assignment(),
    metavar="NAME=VALUE",
    help="The value of a variable, in place of the pipeline's own; repeat it for several.",
)
@click.option("--env", "environment_id", type=Words(), metavar="ID", help="The environment to run in.")
@click.option(
    "--node",
    "nodes",
    multiple=True,
    type=Words(),
    metavar="ID",
    help="Run only this node and what it needs; repeat it for several.",
)
@click.option(
    "--priority", type=int, metavar="NUMBER", help="Runs with a higher one leave the queue first. Default: 0."
)
@click.option(
    "--idempotency-key",
    type=Words(),
    metavar="KEY",
    help="Calls with the same key start one run, however often they are made. Default: a new one.",
)
@follow_options
@service_option
@json_option
@click.pass_context
def run_command(
    context: click.Context,
    *,
    pipeline: str,
    variables: Sequence[tuple[str, str]],
    environment_id: str | None,
    nodes: Sequence[str],
    priority: int | None,
    idempotency_key: str | None,
    follow: bool,
    wait: float | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Start PIPELINE (its id, or its name) and show how its run gets on.

    Ctrl-C asks whether to cancel the run or to leave it to itself.

    Exit code 0: the run has succeeded, or with --no-follow was accepted; 1: it has failed; 2: something about the call
    is wrong; 3: it was canceled; 4: the service is away or let nobody in; 5: it still goes on.
    """
    with opened_client(context, state=state) as client:
        pipeline_id = find_pipeline(client, pipeline)
        try:
            started = client.start_run(
                pipeline_id,
                idempotency_key=idempotency_key or uuid4().hex,
                variables=typed_variables(client, pipeline_id, given=dict(variables)),
                environment_id=environment_id,
                nodes=nodes,
                priority=priority,
            )
        except RefusedError as error:
            if is_pipeline_missing(error):
                raise pipeline_not_found(client, pipeline) from error
            raise
        context.exit(see_through(client, started, follow=follow, wait=wait, as_json=as_json))


def typed_variables(client: RunsClient, pipeline_id: str, *, given: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the values as the pipeline's variables are typed; what does not fit stays text, for the API to refuse."""
    if not given:
        return {}
    declared = client.read_pipeline(pipeline_id).get("variables") or {}
    return {name: typed(text, kind=declared.get(name, {}).get("type", "string")) for name, text in given.items()}


def typed(text: str, *, kind: str) -> str | int | float | bool:
    """Return a text as a value of this type of variable, or as it is."""
    if kind == "boolean" and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if kind in {"integer", "number"} and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "number":
        try:
            return float(text)
        except ValueError:
            return text
    return text
