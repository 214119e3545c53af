"""The kinds of work of the cancel matrix, as pipelines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ROWS = 1_000_000_000  # more than anybody computes
_SLOW_QUERY = """
SELECT 1 / (SELECT open FROM gate) AS n, pg_sleep(0.01)::text AS t FROM generate_series(1, 1000000)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """A kind of work. `works`: the document's node that does it; `query`: how Postgres shows that it is at it."""

    name: str
    interruptible: bool
    nodes: tuple[Mapping[str, Any], ...]
    edges: tuple[Mapping[str, str], ...] = ()
    query: str | None = None
    file: str | None = None

    def document(self, *, retries: int = 0, build_seconds: float = 0.0, before: int = 0) -> dict[str, Any]:
        """A pipeline that does this, one node at a time, after as many nodes that do nothing."""
        nodes = [{**node, "retries": retries, "config": dict(node["config"])} for node in self.nodes]
        if build_seconds:
            quick = {"kind": "nothing", "buildSeconds": build_seconds}
            nodes.append({"id": "n_slow", "type": "source.work", "config": quick})
        for number in range(before):
            noted = {"note": "quick.txt"} if number == 0 else {}
            nodes.insert(number, {"id": f"n_{number}", "type": "source.work", "config": {"kind": "nothing", **noted}})
        return {
            "id": f"pl_{self.name}",
            "name": self.name,
            "executor": {"type": "threads", "maxParallelNodes": 1},
            "nodes": nodes,
            "edges": [dict(edge) for edge in self.edges],
        }


def _work(name: str, *, interruptible: bool = False) -> Kind:
    config = {"kind": name, "note": "notes.txt", "gate": "gate.txt"}
    return Kind(
        name=name,
        interruptible=interruptible,
        nodes=({"id": "n_work", "type": "source.work", "config": config},),
    )


def _write(
    name: str,
    *,
    type_: str,
    config: Mapping[str, Any],
    rows: int = _ROWS,
    query: str | None = None,
    file: str | None = None,
) -> Kind:
    source = {"kind": "rows", "rows": rows, "gate": "gate.txt"}
    nodes = (
        {"id": "n_rows", "type": "source.work", "config": source},
        {"id": "n_write", "type": type_, "config": config},
    )
    edges = ({"source": "n_rows", "target": "n_write"},)
    return Kind(name=name, interruptible=True, nodes=nodes, edges=edges, query=query, file=file)


KINDS = (
    _work("query", interruptible=True),
    _work("loop", interruptible=True),
    _work("sleep"),
    _work("hold"),
    _work("child"),
    _write(
        "parquet", type_="destination.parquet", config={"path": "out/target.parquet"}, file=".target.parquet.*.part"
    ),
    _write(
        "copy",
        type_="destination.postgres",
        config={"connectionId": "conn_pg", "table": "target", "mode": "append"},
        query="COPY%planasonix_stage%",
    ),
    Kind(
        name="read",
        interruptible=True,
        nodes=(
            {"id": "n_read", "type": "source.postgres", "config": {"connectionId": "conn_pg", "query": _SLOW_QUERY}},
        ),
        query="%pg_sleep(0.01)%",
    ),
    _write(
        "finish",  # at work in Postgres alone, with the destination locked and emptied
        type_="destination.postgres",
        config={"connectionId": "conn_pg", "table": "emptied", "mode": "truncate", "postSql": "SELECT pg_sleep(600)"},
        rows=1,
        query="%pg_sleep(600)%",
    ),
)
