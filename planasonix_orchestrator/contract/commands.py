"""Commands that others add to `planasonix`: where they are found, and what they are given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

COMMAND_GROUP = "planasonix.commands"  # the entry-point group: the command's name, and where its click.Command is
API_URL_VARIABLE = "PLANASONIX_API_URL"

# Returns the variables by which the parts of the stack that runs on this state directory (None for the usual one) find
# each other. It raises an error whose text says what to do if none runs.
FindStack = Callable[[Path | None], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalApi:
    """The Runs API of the stack on a state directory: its address, None while none runs, and the file of its first key.

    Nobody promises that the file is there.
    """

    state: Path
    url: str | None
    key_file: Path


FindApi = Callable[[Path | None], LocalApi]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finders:
    """What `click.Context.obj` of such a command is: ways to what runs on this machine."""

    stack: FindStack
    api: FindApi
