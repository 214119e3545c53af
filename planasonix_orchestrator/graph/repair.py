"""What can be read of a document that has faults, so that the other checks can report the rest at once."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from planasonix_orchestrator.graph.source import DocumentPath, Fault

STAND_IN = "pl_stand-in"  # for an id, a name or a type that has to be there
# Left out as a whole if need be; nothing else in a document refers to them.
_SECTIONS: tuple[tuple[str, ...], ...] = ((), ("triggers",), ("schedules",), ("triggers", "schedules"))


def repair_pipeline(data: dict[str, Any], *, faults: Iterable[Fault]) -> Iterator[dict[str, Any]]:
    """Yield the document without the members that have faults, then also without what starts it.

    Each may still be short of something. Items of lists stay where they are, so that paths into a repaired document
    are paths into the file.
    """
    repaired = copy.deepcopy(data)
    for fault in faults:
        if fault.code != "missing_field":
            _remove(repaired, fault.path)
    nodes = repaired.get("nodes")
    if isinstance(nodes, list):
        repaired["nodes"] = [_stand_in_node(node, index=index) for index, node in enumerate(nodes)]
    for sections in _SECTIONS:
        yield {"id": STAND_IN, "name": STAND_IN} | {key: repaired[key] for key in repaired if key not in sections}


def repair_connections(data: dict[str, Any], *, faults: Iterable[Fault]) -> Iterator[dict[str, Any]]:
    """Yield the connections that have no faults."""
    repaired = copy.deepcopy(data)
    for fault in faults:
        _remove(repaired, fault.path[:2])
    yield repaired


def repair_endpoints(data: dict[str, Any], *, faults: Iterable[Fault]) -> Iterator[dict[str, Any]]:
    """Yield the endpoints of webhooks.yaml that have no faults."""
    return repair_connections(data, faults=faults)


def repair_environments(data: dict[str, Any], *, faults: Iterable[Fault]) -> Iterator[dict[str, Any]]:
    """Yield the environments without the members that have faults."""
    repaired = copy.deepcopy(data)
    for fault in faults:
        _remove(repaired, fault.path)
    yield repaired


def _stand_in_node(node: Any, *, index: int) -> Any:
    return {"id": f"node {index}", "type": STAND_IN} | node if isinstance(node, dict) else node


def _remove(data: Any, path: DocumentPath) -> None:
    for part in path[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError):  # an earlier fault has taken it away
            return
    if path and isinstance(data, dict):
        data.pop(path[-1], None)
