"""The pipelines that both stacks execute: the same nodes, in the stock stack once for each of Dagster's executors."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

ROWS = 10
CHAINS = (1, 3, 11, 20, 101)  # nodes
COPIED_ROWS = 50_000_000
SECONDS_HELD = 30
NOTES = "notes.txt"  # of work that holds the interpreter, so that no event of it comes out
DATABASE_VARIABLE = "PLANASONIX_BENCHMARK_DATABASE"
COPY_TABLE = "public.copied"
IN_PROCESS = "_in_process"

_ENDLESS = "SELECT sum(sin(a.range) * b.range) AS n FROM input, range(1000000) AS a, range(1000000) AS b"
_MANY = f"SELECT range AS n, 'row ' || range AS name FROM input, range({COPIED_ROWS // ROWS})"
_SOURCE = {"id": "n_0", "type": "source.csv", "config": {"path": "rows.csv"}}


def write_pipelines(folder: Path, *, executors: Mapping[str, str]) -> None:
    """Write all pipelines, once for each executor; the name of an executor's pipelines ends with its key."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(ROWS)), encoding="utf-8")
    connections = {"conn_pg": {"type": "postgres", "url": {"env": DATABASE_VARIABLE}}}
    (folder / "connections.yaml").write_text(json.dumps({"connections": connections}), encoding="utf-8")
    for ending, executor in executors.items():
        for name, nodes in _pipelines(ending).items():
            _write(folder, name=f"{name}{ending}", nodes=nodes, executor=executor)


def write_many(folder: Path, *, number: int) -> None:
    """Write so many pipelines of three nodes."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in range(number):
        _write(folder, name=f"pipeline_{each}", nodes=_pipelines(f"_{each}")["three"], executor="threads")


def _pipelines(ending: str) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return the nodes of each pipeline, in the order of the chain that they are."""
    return {
        **{f"chain_{length}": [_SOURCE, *map(_filter, range(1, length))] for length in CHAINS},
        "three": [_SOURCE, _filter(1), _node("n_2", "destination.csv", path=f"three{ending}.csv")],
        "query": [_SOURCE, _node("n_work", "transform.sql", query=_ENDLESS)],
        "copy": [
            _SOURCE,
            _node("n_many", "transform.sql", query=_MANY),
            _node("n_work", "destination.postgres", connectionId="conn_pg", table=COPY_TABLE, mode="truncate"),
        ],
        "hold": [_node("n_work", "source.work", kind="hold", seconds=SECONDS_HELD, note=NOTES)],
    }


def _filter(number: int) -> Mapping[str, Any]:
    return _node(f"n_{number}", "transform.filter", expression=f"n <> {1000 + number}")


def _node(node_id: str, node_type: str, **config: Any) -> Mapping[str, Any]:
    return {"id": node_id, "type": node_type, "config": config}


def _write(folder: Path, *, name: str, nodes: Sequence[Mapping[str, Any]], executor: str) -> None:
    edges = [{"source": source["id"], "target": target["id"]} for source, target in pairwise(nodes)]
    document = {"id": f"pl_{name}", "name": name, "nodes": nodes, "edges": edges, "executor": {"type": executor}}
    (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
