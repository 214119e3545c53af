"""Keys that Planasonix and its canvas write into an exported graph, and that mean nothing to a run: accepted, ignored.

The canvas keeps a React Flow graph (https://reactflow.dev/api-reference/types), so its nodes and edges carry that
library's drawing state.
"""

from collections.abc import Mapping
from typing import Any

_DRAWING = frozenset(
    {
        "ariaLabel",
        "className",
        "createdAt",
        "data",
        "deletable",
        "focusable",
        "hidden",
        "label",
        "selectable",
        "selected",
        "style",
        "updatedAt",
        "zIndex",
    }
)
PIPELINE_KEYS = frozenset(
    {
        "$schema",
        "createdBy",
        "environmentId",
        "exportedAt",
        "lastRunAt",
        "lastRunStatus",
        "organizationId",
        "ownerId",
        "schemaVersion",
        "updatedBy",
        "version",
        "viewport",
        "workspaceId",
    }
)
NODE_KEYS = _DRAWING | {
    "connectable",
    "draggable",
    "dragging",
    "expandParent",
    "extent",
    "height",
    "measured",
    "parentId",
    "parentNode",
    "positionAbsolute",
    "resizing",
    "sourcePosition",
    "targetPosition",
    "width",
}
EDGE_KEYS = _DRAWING | {
    "animated",
    "interactionWidth",
    "labelBgBorderRadius",
    "labelBgPadding",
    "labelBgStyle",
    "labelShowBg",
    "labelStyle",
    "markerEnd",
    "markerStart",
    "pathOptions",
    "reconnectable",
    "type",
    "updatable",
}
# Some programs write null where they have nothing, or an empty list where they have an empty mapping.
_MAY_BE_NULL = frozenset({"config", "edges", "retries", "schedules", "status", "tags", "triggers", "variables"})
_MAY_BE_EMPTY_LISTS = frozenset({"config", "tags", "variables"})


def without_export_keys(data: Any) -> Any:
    """Return a pipeline document without the keys that are ignored, and without null for "there are none"."""
    if not isinstance(data, Mapping):
        return data
    kept = _without(data, PIPELINE_KEYS)
    for key, ignored in (("nodes", NODE_KEYS), ("edges", EDGE_KEYS)):
        if isinstance(kept.get(key), list):
            kept[key] = [_without(item, ignored) if isinstance(item, Mapping) else item for item in kept[key]]
    return kept


def _without(mapping: Mapping[str, Any], ignored: frozenset[str]) -> dict[str, Any]:
    return {
        key: value
        for key, value in mapping.items()
        if key not in ignored
        and not (value is None and key in _MAY_BE_NULL)
        and not (value == [] and key in _MAY_BE_EMPTY_LISTS)
    }
