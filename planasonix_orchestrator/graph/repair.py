"""What can be read of a document that has faults, so that the other checks can report the rest at once."""

import copy
from collections.abc import Iterable
from typing import Any

from planasonix_orchestrator.graph.source import DocumentPath, Fault

STAND_IN = "pl_stand-in"  # for an id, a name or a type that has to be there
_SECTIONS = ("schedules", "triggers")  # left out as a whole; nothing else in a document refers to them


def repair_pipeline(data: dict[str, Any], faults: Iterable[Fault]) -> dict[str, Any]:
    """Return the document without the members that have faults; it may still be short of something.

    Items of lists stay where they are, so that paths into the repaired document are paths into the file.
    """
    repaired = copy.deepcopy(data)
    for fault in faults:
        if fault.path[:1] and fault.path[0] in _SECTIONS:
            repaired.pop(str(fault.path[0]), None)
        elif fault.code != "missing_field":
            _remove(repaired, fault.path)
    nodes = repaired.get("nodes")
    if isinstance(nodes, list):
        repaired["nodes"] = [
            _stand_in_node(node, index) if isinstance(node, dict) else node for index, node in enumerate(nodes)
        ]
    return {"id": STAND_IN, "name": STAND_IN} | repaired


def _stand_in_node(node: dict[str, Any], index: int) -> dict[str, Any]:
    return {"id": f"node {index}", "type": STAND_IN} | node


def repair_connections(data: dict[str, Any], faults: Iterable[Fault]) -> dict[str, Any]:
    """Return the connections that have no faults."""
    repaired = copy.deepcopy(data)
    for fault in faults:
        _remove(repaired, fault.path[:2])
    return repaired


def _remove(data: Any, path: DocumentPath) -> None:
    for part in path[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError):  # an earlier fault has taken it away
            return
    if path and isinstance(data, dict):
        data.pop(path[-1], None)
