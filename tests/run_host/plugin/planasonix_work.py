"""A node type that works in every way that a cancellation may meet, for the tests of run control."""

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar, Literal

from sqlglot import exp

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.nodes.base import NodeConfig, NodeContext, Source

Kind = Literal["nothing", "query", "loop", "sleep", "hold", "child", "crash", "memory"]


class WorkConfig(NodeConfig):
    """Config of source.work."""

    kind: Kind = "nothing"
    """What to do."""
    seconds: float = 600.0
    """For how long, at the most."""
    note: str | None = None
    """A file, beside the documents, that gets a line when the work begins and one when it has ended."""


class Work(Source[WorkConfig]):
    """Works in a given way for a given time, then yields one row."""

    type_name = "source.work"
    title = "Work"
    kinds = ("python",)
    config_model = WorkConfig
    example: ClassVar = {"kind": "nothing"}

    def read(self, config: WorkConfig, context: NodeContext) -> Relation:
        """Work, and return a row."""
        _note(config, context, "began")
        _WORKS[config.kind](config, context)
        _note(config, context, "ended")
        return context.session.define(context.node_id, exp.select("1 AS n"))


def _note(config: WorkConfig, context: NodeContext, what: str) -> None:
    if config.note is not None:
        line = f"{context.run_id} {what} {os.getpid()} {time.time()}\n"
        with (context.base / config.note).open("a", encoding="utf-8") as notes:
            notes.write(line)


def _nothing(_config: WorkConfig, _context: NodeContext) -> None:
    """Do nothing."""


def _query(_config: WorkConfig, context: NodeContext) -> None:
    with context.session.cursor() as cursor:
        cursor.execute("SELECT sum(sin(a.range) * b.range) FROM range(1000000) AS a, range(1000000) AS b").fetchall()


def _loop(config: WorkConfig, _context: NodeContext) -> None:
    end = time.monotonic() + config.seconds
    while time.monotonic() < end:
        hashlib.sha256(b"work").digest()


def _sleep(config: WorkConfig, _context: NodeContext) -> None:
    time.sleep(config.seconds)


def _hold(config: WorkConfig, _context: NodeContext) -> None:
    ctypes.PyDLL(None).sleep(int(config.seconds))  # a call into C that does not let go of the interpreter


def _child(config: WorkConfig, _context: NodeContext) -> None:
    subprocess.run([sys.executable, "-c", f"import time; time.sleep({config.seconds})"], check=False)


def _crash(_config: WorkConfig, _context: NodeContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _memory(config: WorkConfig, _context: NodeContext) -> None:
    held = []
    end = time.monotonic() + config.seconds
    while time.monotonic() < end:
        held.append(os.urandom(8_000_000))
        time.sleep(0.01)


_WORKS = {
    "nothing": _nothing,
    "query": _query,
    "loop": _loop,
    "sleep": _sleep,
    "hold": _hold,
    "child": _child,
    "crash": _crash,
    "memory": _memory,
}
PLUGIN = Path(__file__).parent
