"""Commands that others add to `planasonix`: where they are found, and what they are given."""

from collections.abc import Callable, Mapping
from pathlib import Path

COMMAND_GROUP = "planasonix.commands"  # the entry-point group: the command's name, and where its click.Command is

# What `click.Context.obj` of such a command is: returns the variables by which the parts of the stack that runs on this
# state directory (None for the usual one) find each other. It raises an error whose text says what to do if none runs.
FindStack = Callable[[Path | None], Mapping[str, str]]
