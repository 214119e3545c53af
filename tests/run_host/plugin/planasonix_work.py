"""A node type that works in every way that a cancellation may meet, for the tests of run control."""

import ctypes
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import model_validator
from sqlglot import exp, parse_one

from planasonix_orchestrator.engine.relation import Relation
from planasonix_orchestrator.errors import NodeError
from planasonix_orchestrator.nodes.base import NodeConfig, NodeContext, Source

Kind = Literal["nothing", "query", "loop", "sleep", "hold", "child", "crash", "memory", "rows", "quota"]

# Rows take long enough to compute that whoever reads them has something to be interrupted in.
_ROWS = "SELECT range AS n, list_sum(list_transform(range(50), lambda x: sin(x + range))) AS v FROM range({rows})"
_QUOTA = 1_000_000  # bytes of a file
_GATED = "SELECT CASE content WHEN 'open' THEN n ELSE error('the gate is closed') END AS n, v FROM ({rows}), {gate}"


class WorkConfig(NodeConfig):
    """Config of source.work."""

    kind: Kind = "nothing"
    """What to do."""
    seconds: float = 600.0
    """For how long, at the most."""
    note: str | None = None
    """A file, beside the documents, that gets a line when the work begins and one when it has ended."""
    rows: int = 1
    """How many rows to yield; those of kind `rows` are computed one by one by whoever reads them."""
    gate: str | None = None
    """A file, beside the documents: while it does not say `open`, each attempt fails."""
    build_seconds: float = 0.0
    """How long a run's worker takes to build the job."""

    @model_validator(mode="after")
    def _take_time_in_a_worker(self) -> Self:
        if self.build_seconds and os.environ.get("TMPDIR", "").startswith(os.environ.get("PLANASONIX_STATE", "/-")):
            time.sleep(self.build_seconds)
        return self


class Work(Source[WorkConfig]):
    """Works in a given way for a given time, then yields one row."""

    type_name = "source.work"
    title = "Work"
    kinds = ("python",)
    config_model = WorkConfig
    example: ClassVar = {"kind": "nothing"}

    def read(self, config: WorkConfig, context: NodeContext) -> Relation:
        """Work, and return rows."""
        if config.gate is not None and config.kind != "rows" and (context.base / config.gate).read_text() != "open":
            raise NodeError("the gate is closed")
        _note(config, context, "began")
        _WORKS[config.kind](config, context)
        _note(config, context, "ended")
        return context.session.define(context.node_id, _rows(config, context))


def _rows(config: WorkConfig, context: NodeContext) -> exp.Query:
    if config.kind == "quota":
        return exp.select("md5(range) AS n").from_(f"range({config.rows})")
    if config.kind != "rows":
        return exp.select("range + 1 AS n").from_(f"range({config.rows})")
    text = _ROWS.format(rows=config.rows)
    if config.gate is not None:
        gate = exp.Literal.string(str(context.base / config.gate)).sql("duckdb")
        text = _GATED.format(rows=text, gate=f"read_text({gate})")
    query = parse_one(text, dialect="duckdb")
    assert isinstance(query, exp.Query)
    return query


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


def _quota(_config: WorkConfig, _context: NodeContext) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (_QUOTA, _QUOTA))  # as if the disk were full


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
    "rows": _nothing,
    "quota": _quota,
}
PLUGIN = Path(__file__).parent
