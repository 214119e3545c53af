"""How a run that goes on is shown, on stderr: a table that changes on a terminal, a line for each change in a pipe."""

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from api_adapter.commands.display import STATUS_STYLES, rate_of, rows_of, state_of, told_count, told_duration
from api_adapter.legible import legible

Json = Mapping[str, Any]

_LINES_AROUND = 4  # of a terminal, which the nodes must leave free
_SHOWN_FIRST = ("failed", "running", "canceled", "succeeded", "queued", "pending", "skipped")


class Progress(Protocol):
    """Somebody who is told, again and again, how far a run has come."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, run: Json, nodes: Sequence[Json]) -> None:
        """Show a run as it is now."""

    def note(self, line: str) -> None:
        """Say something that stays."""

    def pause(self) -> None:
        """Leave the terminal alone until the next `show`."""


def open_progress(*, quiet: bool = False) -> Progress:
    """Return what suits where stderr goes."""
    if quiet:
        return _SilentProgress()
    console = Console(stderr=True, highlight=False)
    return _TerminalProgress(console) if sys.stderr.isatty() and not console.is_dumb_terminal else _PlainProgress()


class _SilentProgress:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, run: Json, nodes: Sequence[Json]) -> None:
        pass

    def note(self, line: str) -> None:
        click.echo(line, err=True)

    def pause(self) -> None:
        pass


class _PlainProgress(_SilentProgress):
    """Tells each change once: of the run, and of nodes that have begun or ended."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def show(self, run: Json, nodes: Sequence[Json]) -> None:
        changes = [(node["nodeId"], f"{node['status']} {node['retries']}", _line(node)) for node in _begun(nodes)]
        state = _state(run)
        changes.insert(len(changes) if run["finishedAt"] else 0, ("", state, f"{run['id']} {_run_words(run)}"))
        for who, state, line in changes:
            if self._told.get(who) != state:
                self._told[who] = state
                click.echo(line, err=True)


class _TerminalProgress:
    """Keeps one table up to date, which stays as it was last."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def show(self, run: Json, nodes: Sequence[Json]) -> None:
        table = render(run, nodes, height=self._console.height)
        if self._live is None:
            self._live = Live(table, console=self._console, auto_refresh=False, redirect_stdout=False)
            self._live.start()
        self._live.update(table, refresh=True)

    def note(self, line: str) -> None:
        self._console.print(Text(line))

    def pause(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def render(run: Json, nodes: Sequence[Json], *, height: int) -> RenderableType:
    """Return a run and its nodes as they fit on so many lines: where not all do, those that matter most."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("NODE", "TYPE", "STATUS"):
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    for title in ("ROWS", "ROWS/S", "TIME"):
        table.add_column(title, justify="right", no_wrap=True)
    shown = _most_telling(nodes, number=max(height - _LINES_AROUND, 1))
    for node in shown:
        table.add_row(*_cells(node))
    head = Text.assemble((run["id"], "bold"), " ", (_run_words(run), STATUS_STYLES.get(run["status"], "")))
    ended = sum(node["finishedAt"] is not None for node in nodes)
    more = [Text(f"{len(nodes)} nodes, {ended} ended; {len(shown)} shown", style="dim")] if shown != nodes else []
    return Group(head, *([table] if shown else []), *more)


def _most_telling(nodes: Sequence[Json], *, number: int) -> Sequence[Json]:
    if len(nodes) <= number:
        return nodes
    ranks = {status: rank for rank, status in enumerate(_SHOWN_FIRST)}
    places = sorted(range(len(nodes)), key=lambda place: (ranks.get(nodes[place]["status"], 0), place))
    return [nodes[place] for place in sorted(places[: max(number - 1, 1)])]


def _cells(node: Json) -> Sequence[Text]:
    state = state_of(node)
    words = state + (f", attempt {node['retries'] + 1}" if node["retries"] else "")
    rows = rows_of(node)
    return [
        Text(legible(node["nodeId"])),
        Text(legible(node["type"]), style="dim"),
        Text(words, style=STATUS_STYLES.get(state, "")),
        Text(told_count(rows)),
        Text(told_count(rate_of(node))),
        Text(told_duration(node["durationSeconds"])),
    ]


def _begun(nodes: Sequence[Json]) -> Sequence[Json]:
    return [node for node in nodes if node["startedAt"] is not None]


def _line(node: Json) -> str:
    rows, rate = rows_of(node), rate_of(node)
    told = [
        f"  {legible(node['nodeId'])} {state_of(node)}",
        f"{told_count(rows)} rows" if rows is not None else "",
        f"{told_count(rate)} rows/s" if rate is not None else "",
        told_duration(node["durationSeconds"]),
        f"attempt {node['retries'] + 1}" if node["retries"] else "",
    ]
    return "  ".join(one for one in told if one)


def _run_words(run: Json) -> str:
    return f"{_state(run)} {told_duration(run['durationSeconds'])}".rstrip()


def _state(run: Json) -> str:
    return "canceling" if run["cancelRequestedAt"] and run["finishedAt"] is None else str(run["status"])
