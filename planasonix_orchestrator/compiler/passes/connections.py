"""Checks that the connections which configs name exist and are of the right type."""

from collections.abc import Iterator

from planasonix_orchestrator.compiler.connections import connection_type
from planasonix_orchestrator.compiler.draft import Draft, DraftStep
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.validation import nearest


def check_connections(draft: Draft) -> Draft:
    """Add `unknown_connection` and `wrong_connection_type`; the run checks one that a variable names."""
    return draft.having(problems=(problem for step in draft.steps for problem in _problems(draft, step)))


def _problems(draft: Draft, step: DraftStep) -> Iterator[Problem]:
    if step.config is None:
        return
    for key, wanted in step.node_type.connection_ids(step.config).items():
        connection_id = step.settings[key]
        connection = draft.connections.get(connection_id)
        if "{{" in connection_id:
            continue
        if connection is None:
            yield draft.loaded.problem(
                code="unknown_connection",
                message=f"{step.label}: connection {connection_id!r} does not exist",
                path=step.config_path((key,)),
                hint=nearest(connection_id, draft.connections) or "declare it in connections.yaml",
            )
        elif connection_type(connection) != wanted:
            given = connection_type(connection)
            fitting = [id_ for id_, other in draft.connections.items() if connection_type(other) == wanted]
            yield draft.loaded.problem(
                code="wrong_connection_type",
                message=f"{step.label}: connection {connection_id!r} is of type {given}, not {wanted}",
                path=step.config_path((key,)),
                hint=f"of type {wanted}: {', '.join(sorted(fitting)) or 'none'}",
            )
