"""The catalog of node types: an object that is passed in, listed, and asked by name."""

import difflib
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from typing import Any

from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.nodes.base import NodeType

ENTRY_POINT_GROUP = "planasonix.nodes"


class DuplicateNodeTypeError(PlanasonixError):
    """Two node types claim one name."""

    def __init__(self, name: str, first: object, second: object) -> None:
        super().__init__(f"node type {name!r} is claimed by both {first!r} and {second!r}")


class UnknownNodeTypeError(PlanasonixError):
    """No node type has this name; `nearest` is the known name most like it, if any is close."""

    def __init__(self, name: str, *, nearest: str | None) -> None:
        self.name = name
        self.nearest = nearest
        super().__init__(f"unknown node type {name!r}" + (f"; did you mean {nearest!r}?" if nearest else ""))


class NodeCatalog:
    """Node types by name and alias, in the order in which they were given."""

    def __init__(self, types: Iterable[NodeType[Any]]) -> None:
        self._types: dict[str, NodeType[Any]] = {}
        self._names: dict[str, NodeType[Any]] = {}
        for node_type in types:
            self._types[node_type.type_name] = node_type
            for name in (node_type.type_name, *node_type.aliases):
                if name in self._names:
                    raise DuplicateNodeTypeError(name, self._names[name], node_type)
                self._names[name] = node_type

    def get(self, name: str) -> NodeType[Any]:
        """Return the node type of a name or alias; `UnknownNodeTypeError` with the nearest name if none has it."""
        try:
            return self._names[name]
        except KeyError as error:
            near = difflib.get_close_matches(name, self._names, n=1, cutoff=0.5)
            raise UnknownNodeTypeError(name, nearest=near[0] if near else None) from error

    def __iter__(self) -> Iterator[NodeType[Any]]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)

    def __repr__(self) -> str:
        return f"NodeCatalog({', '.join(self._types)})"


def load_catalog() -> NodeCatalog:
    """Return the built-in node types, followed by those of installed packages' entry points.

    An entry point of the group `planasonix.nodes` names a `NodeType` subclass.
    """
    from planasonix_orchestrator.nodes.builtin import BUILTIN

    installed = (point.load() for point in sorted(entry_points(group=ENTRY_POINT_GROUP)))
    return NodeCatalog(node_type() for node_type in (*BUILTIN, *installed))
