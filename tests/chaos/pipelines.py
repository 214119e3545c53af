"""The pipelines that run amid the chaos, and how many rows each of their destinations must then hold: all, or none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

_CONNECTIONS = "connections: {conn_pg: {type: postgres, url: {env: PLANASONIX_POSTGRES_URL}}}"
_TAG = {"tag": {"type": "string", "required": True}}
TABLE = "chaos.written"
INPUT_ROWS = 100_000
SETUP = (
    "CREATE SCHEMA chaos",
    f"CREATE TABLE {TABLE} (run text, n bigint)",
    f"CREATE TABLE chaos.input AS SELECT g AS n, md5(g::text) AS words FROM generate_series(1, {INPUT_ROWS}) AS g",
)
_TIMEOUT_SECONDS = 300  # which no run takes, whatever the clock says
_SLOW_ROWS = 4_000
_SLOW_QUERY = f"SELECT g AS n, pg_sleep(0.001)::text AS t FROM generate_series(1, {_SLOW_ROWS}) AS g"
# As slow, where the clock is set: Postgres sleeps until a time of day, for an hour longer once that is set back by one.
_BUSY_QUERY = (
    "SELECT g AS n, (SELECT max(md5((g * h)::text)) FROM generate_series(1, 1500) AS h) AS slowly"
    f" FROM generate_series(1, {_SLOW_ROWS}) AS g"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaotic:
    """A pipeline. A run that succeeds has put `table_rows` into the table, tagged, and `file_rows` into its file.

    `can_succeed`: whether it is possible at all. `weight`: how often it is run, beside the others.
    """

    name: str
    document: Mapping[str, Any]
    table_rows: int = 0
    file: str | None = None  # its name, with the tag for {}
    file_rows: int = 0
    can_succeed: bool = True
    weight: int = 1

    @property
    def id(self) -> str:
        """The pipeline's id."""
        return str(self.document["id"])


def _work(id_: str, **config: Any) -> dict[str, Any]:
    return {"id": id_, "type": "source.work", "config": {"note": "notes.txt", **config}}


@dataclass(slots=True)
class _Graph:
    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: list[dict[str, str]] = field(default_factory=list)

    def chain(self, *nodes: dict[str, Any]) -> "_Graph":
        for node in nodes:
            if node not in self.nodes:
                self.nodes.append(node)
        self.edges += [{"source": before["id"], "target": after["id"]} for before, after in pairwise(nodes)]
        return self


def _chaotic(name: str, graph: _Graph, **facts: Any) -> Chaotic:
    document = {
        "id": f"pl_{name}",
        "name": name,
        "variables": _TAG,
        "timeoutSeconds": _TIMEOUT_SECONDS,
        "nodes": graph.nodes,
        "edges": graph.edges,
    }
    return Chaotic(name=name, document=document, **facts)


_TAGGED = {"id": "n_tag", "type": "transform.sql", "config": {"query": "SELECT '{{ tag }}' AS run, n FROM input"}}
_INTO_TABLE = {
    "id": "n_table",
    "type": "destination.postgres",
    "config": {"connectionId": "conn_pg", "table": TABLE, "mode": "append"},
}
_INTO_PARQUET = {"id": "n_file", "type": "destination.parquet", "config": {"path": "out/{{ tag }}.parquet"}}
_INTO_CSV = {"id": "n_file", "type": "destination.csv", "config": {"path": "out/{{ tag }}.csv"}}
_ROWS = 40_000


def _reading(**config: Any) -> dict[str, Any]:
    return {"id": "n_read", "type": "source.postgres", "config": {"connectionId": "conn_pg", **config}}


PIPELINES = (
    _chaotic(
        "write",
        _Graph().chain(_work("n_rows", kind="rows", rows=_ROWS), _TAGGED, _INTO_TABLE).chain(_TAGGED, _INTO_PARQUET),
        table_rows=_ROWS,
        file="{}.parquet",
        file_rows=_ROWS,
        weight=4,
    ),
    _chaotic(
        "move",
        _Graph([_work("n_note")]).chain(_reading(table="chaos.input"), _TAGGED, _INTO_TABLE).chain(_TAGGED, _INTO_CSV),
        table_rows=INPUT_ROWS,
        file="{}.csv",
        file_rows=INPUT_ROWS,
        weight=4,
    ),
    _chaotic(
        "slow_source",
        _Graph([_work("n_note")]).chain(_reading(query=_SLOW_QUERY), _TAGGED, _INTO_TABLE),
        table_rows=_SLOW_ROWS,
        weight=3,
    ),
    _chaotic("loop", _Graph([_work("n_work", kind="loop", seconds=2)]), weight=1),
    _chaotic("sleep", _Graph([_work("n_work", kind="sleep", seconds=3)]), weight=1),
    _chaotic("hold", _Graph([_work("n_work", kind="hold", seconds=3)]), weight=1),
    _chaotic("child", _Graph([_work("n_work", kind="child", seconds=3)]), weight=1),
    _chaotic("quick", _Graph([_work("n_work")]), weight=3),
    _chaotic("memory", _Graph([_work("n_work", kind="memory")]), can_succeed=False),
    _chaotic(
        "disk_full",
        _Graph().chain(
            _work("n_rows", kind="quota", rows=4_000_000),
            {"id": "n_sort", "type": "transform.sort", "config": {"keys": [{"column": "n"}]}},
            _INTO_CSV,
        ),
        file="{}.csv",
        can_succeed=False,
    ),
)
BY_ID = {each.id: each for each in PIPELINES}


def write_pipelines(folder: Path, *, clock_is_set: bool = False) -> None:
    """Write all documents, and what they need, into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "out").mkdir()
    (folder / "connections.yaml").write_text(_CONNECTIONS)
    for each in PIPELINES:
        told = json.dumps(each.document)
        text = told.replace(_SLOW_QUERY, _BUSY_QUERY) if clock_is_set else told
        (folder / f"{each.name}.json").write_text(text)
