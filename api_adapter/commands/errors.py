"""What keeps a command from its work, and the exit codes by which scripts know how it ended."""

from enum import IntEnum
from typing import Any

import click


class ExitCode(IntEnum):
    """How a command ended; `docs/cli.md` tells what each means for which command."""

    SUCCEEDED = 0
    FAILED = 1
    BAD_INPUT = 2
    CANCELED = 3
    NO_SERVICE = 4
    GOING_ON = 5


class CommandError(click.ClickException):
    """What keeps a command from its work; the message says what to do."""

    def __init__(self, message: str, *, exit_code: int = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:
        """Print the message as it is."""
        click.echo(self.format_message(), file=file, err=file is None)
