"""Runs a destination in a process of its own that is killed in the middle of its writing.

As a program: ``killing.py DESTINATION CONFIG BASE URL`` writes rows without end, and says so once it has begun.
"""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from sqlglot import exp

from planasonix_orchestrator.engine.connections import Connections, DuckDBConnection, PostgresConnection, Secret
from planasonix_orchestrator.engine.session import Session
from planasonix_orchestrator.nodes.base import Inputs, NamedRelation, NodeContext
from planasonix_orchestrator.nodes.catalog import load_catalog
from planasonix_orchestrator.nodes.execution import run_node


def connections(base: Path, url: str) -> Connections:
    """The connections of these tests."""
    return Connections(
        {
            "pg": PostgresConnection(id="pg", url=Secret("URL")),
            "duck": DuckDBConnection(id="duck", path=base / "target.duckdb"),
        },
        environment={"URL": url},
    )


def kill_while_writing(
    destination: str, config: Mapping[str, object], *, base: Path, url: str = "", seconds: float
) -> None:
    """Start the destination on endless rows, and SIGKILL it so long after it began to write."""
    arguments = [sys.executable, "-m", "tests.nodes.killing", destination, json.dumps(config), str(base), url]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        time.sleep(seconds)  # whatever it has done by then must not show
        assert process.poll() is None
        process.kill()


def main(destination: str, config: str, folder: str, url: str) -> None:
    """Write two million million rows."""
    base = Path(folder)
    node_type = load_catalog().get(destination)
    with Session(spill=base / "killed spill", threads=2) as session:
        many = exp.select("range AS id", "'new ' || range AS name", dialect="duckdb").from_("range(2000000000000)")
        rows = session.define("many", many).with_figures(rows=2_000_000_000_000)
        sys.stdout.write("writing\n")
        sys.stdout.flush()
        run_node(
            node_type,
            config=node_type.config_model.model_validate(json.loads(config)),
            inputs=Inputs({"input": [NamedRelation(name="many", relation=rows)]}),
            storage="none",
            context=NodeContext(
                node_id="n",
                run_id="run",
                session=session,
                connections=connections(base, url),
                base=base,
                log=logging.getLogger("test"),
            ),
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
