"""The node types that come with Planasonix, in the order in which docs and listings show them."""

from typing import Any

from planasonix_orchestrator.nodes.base import NodeType

BUILTIN: tuple[type[NodeType[Any]], ...] = ()
