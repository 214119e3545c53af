"""Options and kinds of values that several commands share."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"([0-9]{1,6})([smhdw])")
_LONGEST = timedelta(days=36525)


class Duration(click.ParamType[timedelta]):
    """A time span such as ``90d``, ``24h``, ``30m``, ``45s`` or ``2w``, of `least` or more; 100 years at most."""

    name = "duration"

    def __init__(self, *, least: timedelta = timedelta()) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the time span."""
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is not a duration such as 90d, 24h or 30m", param, ctx)
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
        if not self._least <= duration <= _LONGEST:
            self.fail(f"{value!r} is too {'short' if duration < self._least else 'long'}", param, ctx)
        return duration


class Words(click.ParamType[str]):
    """An id or a name: printable, and not empty."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text without space around it."""
        text = str(value).strip()
        if not text or not text.isprintable():
            self.fail(f"{value!r} must have printable characters, and no others", param, ctx)
        return text


class Moment(click.ParamType[datetime]):
    """A point in time: a date or timestamp, or a duration before now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the point in time, in UTC."""
        if isinstance(value, datetime):
            return value
        if _DURATION.fullmatch(value.strip()):
            return datetime.now(UTC) - Duration().convert(value, param, ctx)
        from api_adapter.timestamps import parse_timestamp  # which loads pydantic: not for every command

        try:
            return parse_timestamp(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a time such as 2025-03-01 nor a duration such as 24h", param, ctx)


class Since(click.ParamType[str]):
    """A point in time for the API to read: what it understands by itself, or a duration before now."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; of a duration, the point in time."""
        text = Words().convert(value, param, ctx)
        if not _DURATION.fullmatch(text):
            return text
        return (datetime.now(UTC) - Duration().convert(text, param, ctx)).isoformat()


def state_option(command: CommandT) -> CommandT:
    """Add the option that names a running stack."""
    return _stack_option("PLANASONIX_POSTGRES_URL says where the database is")(command)


def service_option(command: CommandT) -> CommandT:
    """Add the option that names the stack whose Runs API is used."""
    return _stack_option("PLANASONIX_API_URL says where the service is")(command)


def json_option(command: CommandT) -> CommandT:
    """Add the option for output that programs read."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def follow_options(command: CommandT) -> CommandT:
    """Add the options that say how long a command stays with the run that it starts."""
    follow = click.option(
        "--follow/--no-follow",
        default=True,
        show_default=True,
        help="Show how the run gets on until it has ended, or start it and leave.",
    )
    wait = click.option(
        "--wait",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="The longest to stay; a run that then still goes on makes exit code 5. With --no-follow, wait in silence.",
    )
    return follow(wait(command))


def _stack_option(first: str) -> Callable[[CommandT], CommandT]:
    return click.option(
        "--state",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help=f"The state directory of a running stack. Default: {first}, else the stack on PLANASONIX_STATE, else on "
        "./.planasonix.",
    )
