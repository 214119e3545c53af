"""The nodes of a run as they were when it started, read from its job snapshot."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from api_adapter.storage.database import Connection
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.names import decode_name

_CACHED_SNAPSHOTS = 256
_SNAPSHOT = "SELECT snapshot_body FROM snapshots WHERE snapshot_id = %(id)s"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """A node of a job: its step in Dagster, and the steps whose rows it takes."""

    node_id: str
    type: str
    step_key: str
    upstream: tuple[str, ...]


class GraphReader:
    """Reads job graphs; a snapshot is named after its content, so each is read and parsed once."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[GraphNode, ...]] = {}

    def nodes(self, connection: Connection, *, snapshot_id: str | None) -> tuple[GraphNode, ...]:
        """Return the nodes of a job in topological order; empty if Dagster has no snapshot of the job."""
        if snapshot_id is None:
            return ()
        nodes = self._read.get(snapshot_id)
        if nodes is None:
            found = connection.prepared_rows(_SNAPSHOT, {"id": snapshot_id})
            if not found:
                return ()
            nodes = parse_snapshot(found[0].snapshot_body)
            if len(self._read) >= _CACHED_SNAPSHOTS:
                self._read.clear()
            self._read[snapshot_id] = nodes
        return nodes


def parse_snapshot(body: bytes) -> tuple[GraphNode, ...]:
    """Return the nodes of a job snapshot (zlib-compressed JSON of Dagster's JobSnap) in topological order."""
    job = json.loads(zlib.decompress(body))
    definitions = job["solid_definitions_snapshot"]
    reader = _JobGraph(
        ops={op["name"]: op for op in definitions["solid_def_snaps"]},
        graphs={graph["name"]: graph for graph in definitions["composite_solid_def_snaps"]},
    )
    return tuple(reader.expand(job, prefix="", outside=()))


@dataclass(frozen=True, slots=True)
class _JobGraph:
    ops: Mapping[str, Mapping[str, Any]]
    graphs: Mapping[str, Mapping[str, Any]]

    def expand(self, graph: Mapping[str, Any], *, prefix: str, outside: tuple[str, ...]) -> Iterator[GraphNode]:
        """Yield the ops of a graph, those of the graphs within it at their place.

        `outside` are the steps that feed the graph as a whole.
        """
        invocations = {one["solid_name"]: one for one in graph["dep_structure_snapshot"]["solid_invocation_snaps"]}
        upstream = {name: _upstream(invocation) for name, invocation in invocations.items()}
        steps: dict[str, tuple[str, ...]] = {}
        for name in TopologicalSorter(upstream).static_order():
            feeding = tuple(step for source in upstream[name] for step in steps[source]) or outside
            nodes = list(self._nodes(invocations[name], prefix=prefix, feeding=feeding))
            steps[name] = tuple(node.step_key for node in nodes)
            yield from nodes

    def _nodes(self, invocation: Mapping[str, Any], *, prefix: str, feeding: tuple[str, ...]) -> Iterator[GraphNode]:
        name, definition = invocation["solid_name"], invocation["solid_def_name"]
        if definition in self.graphs:
            yield from self.expand(self.graphs[definition], prefix=f"{prefix}{name}.", outside=feeding)
            return
        tags = {**self.ops[definition]["tags"], **invocation["tags"]}
        yield GraphNode(
            node_id=decode_name(prefix + name),
            type=tags.get(tag_names.NODE_TYPE, definition),
            step_key=prefix + name,
            upstream=feeding,
        )


def _upstream(invocation: Mapping[str, Any]) -> Sequence[str]:
    sources = (
        source["solid_name"] for port in invocation["input_dep_snaps"] for source in port["upstream_output_snaps"]
    )
    return list(dict.fromkeys(sources))
