"""What triggers watch must be there: the connections that they name."""

from collections.abc import Iterable, Iterator

from planasonix_orchestrator.compiler.draft import Draft
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.triggers import SqlTrigger
from planasonix_orchestrator.graph.validation import nearest


def check_watched(drafts: Iterable[Draft]) -> Iterator[Problem]:
    """Yield `unknown_connection` where a SQL trigger names none of connections.yaml."""
    for draft in drafts:
        for index, trigger in enumerate(draft.document.triggers):
            if isinstance(trigger, SqlTrigger) and trigger.config.connection_id not in draft.connections:
                connection_id = trigger.config.connection_id
                yield draft.loaded.problem(
                    code="unknown_connection",
                    message=f"trigger {trigger.id!r}: connection {connection_id!r} does not exist",
                    path=("triggers", index, "config", "connectionId"),
                    hint=nearest(connection_id, draft.connections) or "declare it in connections.yaml",
                )
