"""Follows a run to its end, and heeds Ctrl-C on the way."""

import os
import select
import shlex
import signal
import sys
import termios
import time
import tty
from collections.abc import Mapping, Sequence
from enum import Enum
from types import FrameType
from typing import Any, Self

import click

from api_adapter.client import RefusedError, RunsClient, ServiceError, StartedRun
from api_adapter.commands.display import legible_lines, show_json
from api_adapter.commands.errors import CommandError, ExitCode
from api_adapter.commands.progress import Progress, open_progress
from api_adapter.commands.service import tell_failure
from api_adapter.legible import legible

Json = Mapping[str, Any]

_EXIT_CODES = {"succeeded": ExitCode.SUCCEEDED, "failed": ExitCode.FAILED, "canceled": ExitCode.CANCELED}
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
_PAUSE_PER_SECOND = 0.03  # a run of seconds is looked at often, one of minutes every 2 s: 60 calls a minute


class Wish(Enum):
    """What somebody wants who has pressed Ctrl-C."""

    CANCEL = "cancel"
    DETACH = "detach"
    FOLLOW = "follow"


_QUESTION = "\nCancel the run (c), detach and let it go on (d), or keep following (any other key)? "
_KEYS = {"c": Wish.CANCEL, "d": Wish.DETACH, "": Wish.DETACH, "\x04": Wish.DETACH}


def exit_code_of(run: Json) -> ExitCode:
    """Return the exit code by which a script knows how a run has ended, or that it has not."""
    return _EXIT_CODES.get(run["status"], ExitCode.GOING_ON)


def see_through(
    client: RunsClient, started: StartedRun, *, follow: bool, wait: float | None, as_json: bool
) -> ExitCode:
    """Show a run that has just been started as far as it was asked for; return how it ended, or that it goes on.

    Stdout gets the run's id at once, or as JSON what was last known of the run.
    """
    run_id = started.run["runId"]
    if started.replayed:
        click.echo("An earlier call with this idempotency key has started the run.", err=True)
    if not as_json and not (follow and sys.stdout.isatty()):  # where the progress begins with it
        click.echo(run_id)
    if not follow and wait is None:
        if as_json:
            show_json(started.run)
        return ExitCode.SUCCEEDED
    progress, asks = open_progress(quiet=not follow), follow and is_anybody_there()
    run, nodes = follow_run(client, run_id, progress=progress, seconds=wait, asks=asks)
    if as_json:
        show_json({**run, "nodes": nodes})
    tell_end(run)
    return exit_code_of(run)


def follow_run(
    client: RunsClient, run_id: str, *, progress: Progress, seconds: float | None = None, asks: bool = False
) -> tuple[Json, Sequence[Json]]:
    """Show a run until it has ended, so many seconds have passed, or somebody detaches; return it and its nodes.

    Ctrl-C detaches, unless the command `asks`: then it may cancel too, and a second one detaches.
    """
    started = time.monotonic()
    try:
        with Interrupts() as interrupts, progress:
            while True:
                run, nodes = client.read_run(run_id), client.read_nodes(run_id)
                progress.show(run, nodes)
                passed = time.monotonic() - started
                if run["finishedAt"] is not None or (seconds is not None and passed >= seconds):
                    return run, nodes
                pause = min(_SHORTEST_PAUSE + passed * _PAUSE_PER_SECOND, _LONGEST_PAUSE)
                if not interrupts.wait(pause if seconds is None else min(pause, seconds - passed)):
                    continue
                progress.pause()
                if not asks or run["cancelRequestedAt"] or _heed(client, run_id, progress=progress):
                    return run, nodes
    except KeyboardInterrupt:  # while the service let us wait
        raise CommandError(how_to_go_on(run_id), exit_code=ExitCode.GOING_ON) from None
    except ServiceError as error:
        failure = tell_failure(error)
        raise CommandError(f"{failure.message}\n{how_to_go_on(run_id)}", exit_code=failure.exit_code) from error


def tell_end(run: Json) -> None:
    """Say on stderr what to know of a run that is no longer watched."""
    if run["finishedAt"] is None:
        click.echo(how_to_go_on(run["id"]), err=True)
    elif run["error"] is not None:
        node_id, message = run["error"]["nodeId"], legible_lines(run["error"]["message"])
        where = f"Node {legible(node_id)}" if node_id else "The run"
        click.echo(f"{where} failed: {message}", err=True)
        option = f" --node {shlex.quote(legible(node_id))}" if node_id else ""
        click.echo(
            f"`planasonix logs {run['id']}{option}` tells more; `planasonix retry {run['id']}` tries again.", err=True
        )


def how_to_go_on(run_id: str) -> str:
    """Return what to say of a run that goes on without being watched."""
    return f"The run goes on: `planasonix show {run_id}` tells how far it is, `planasonix cancel {run_id}` stops it."


class Interrupts:
    """Ctrl-C, which ends a pause instead of the command; a second one, where the first is not heeded, ends that.

    A pipe wakes the pause: a lock would not do, since a signal's handler may come upon its own thread holding it.
    """

    def __enter__(self) -> Self:
        self._pending = False
        self._reader, self._writer = os.pipe()
        self._former = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._former)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> bool:
        """Pause; tell whether Ctrl-C was pressed, since the last time or just now."""
        ready, _, _ = select.select([self._reader], [], [], max(seconds, 0))
        if ready:
            os.read(self._reader, 1)
            self._pending = False
        return bool(ready)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._pending:
            signal.default_int_handler(number, frame)
        self._pending = True
        os.write(self._writer, b"c")


def _heed(client: RunsClient, run_id: str, *, progress: Progress) -> bool:
    """Do what somebody wants who has pressed Ctrl-C; tell whether that is to detach."""
    wish = ask_wish()
    if wish is Wish.CANCEL:
        try:
            progress.note(client.cancel_run(run_id)["message"])
        except RefusedError as error:  # it has ended meanwhile, which will be seen
            progress.note(error.message)
    return wish is Wish.DETACH


def ask_wish() -> Wish:
    """Ask on the terminal what to do; Ctrl-C, or a terminal that has gone, is as good as an answer: detach."""
    descriptor = sys.stdin.fileno()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    modes = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)  # a key counts at once; those from before the question don't
        click.echo(_QUESTION, nl=False, err=True)
        key = os.read(descriptor, 16).decode(errors="replace").lower()
    except (KeyboardInterrupt, OSError):
        key = ""
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)
        signal.signal(signal.SIGINT, handler)
    wish = _KEYS.get(key, Wish.FOLLOW)
    click.echo(wish.value, err=True)
    return wish


def is_anybody_there() -> bool:
    """Tell whether somebody sits before a terminal and can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
