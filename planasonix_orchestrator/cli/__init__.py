"""The `planasonix` command: its subcommands by name, each loaded only when it is asked for."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import click

from planasonix_orchestrator.cli.env import find_api, find_stack
from planasonix_orchestrator.contract.commands import COMMAND_GROUP, Finders
from planasonix_orchestrator.errors import PlanasonixError

COMMANDS: Mapping[str, str] = {
    "up": "planasonix_orchestrator.cli.up:up_command",
    "env": "planasonix_orchestrator.cli.env:env_command",
    "validate": "planasonix_orchestrator.cli.validate:validate_command",
    "plan": "planasonix_orchestrator.cli.plan:plan_command",
    "nodes": "planasonix_orchestrator.cli.nodes:nodes_command",
    "schema": "planasonix_orchestrator.cli.schema:schema_command",
}


class BrokenCommandError(PlanasonixError):
    """A command that another package adds can't be loaded."""

    def __init__(self, name: str, *, place: str, reason: str) -> None:
        super().__init__(f"The command {name!r} can't be loaded from {place}: {reason}.\nInstall its package again.")


class LazyGroup(click.Group):
    """A group that imports a command when it is used, and prints our errors plainly.

    To its own commands it adds those of the entry-point group `COMMAND_GROUP`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of use."""
        return [*COMMANDS, *sorted(_added())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Return the command of this name; None if there is none."""
        command: click.Command
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name].partition(":")
            command = getattr(import_module(module), name)
            return command
        added = _added().get(cmd_name)
        if added is None:
            return None
        try:
            command = added.load()
        except (ImportError, AttributeError) as error:
            raise BrokenCommandError(cmd_name, place=added.value, reason=str(error)) from error
        return command

    def main(self, args: Sequence[str] | None = None, *arguments: Any, **options: Any) -> Any:
        """Run the command; an error of ours ends it with exit code 1, a usage error with 2."""
        try:
            return super().main(args, *arguments, **options)
        except PlanasonixError as error:
            click.echo(str(error), err=True)
            sys.exit(1)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("planasonix"), prog_name="planasonix")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run Planasonix pipelines on your own Dagster."""
    ctx.obj = Finders(stack=find_stack, api=find_api)


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=COMMAND_GROUP) if point.name not in COMMANDS}
