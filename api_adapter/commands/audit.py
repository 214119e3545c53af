"""`planasonix audit`: who did what, when, from where, and how it ended."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from api_adapter.commands.display import json_moment, moment, show_json, show_rows
from api_adapter.commands.options import Moment, Words, json_option, state_option
from api_adapter.commands.surroundings import find_environment, opened_records
from api_adapter.records import AuditEvent, AuditFilter


@click.command("audit")
@click.option("--since", type=Moment(), metavar="TIME", help="Only later ones: a time, or a duration such as 24h.")
@click.option("--until", type=Moment(), metavar="TIME", help="Only earlier ones.")
@click.option(
    "--actor",
    type=Words(),
    metavar="WHO",
    help="Only of this key (id or name), user of a token, or user of the machine.",
)
@click.option(
    "--action", type=Words(), metavar="WHAT", help="Only this action, as run.start, or kind of action, as run or key."
)
@click.option("--resource", type=Words(), metavar="ID", help="Only on this pipeline, run or key.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The most to print.")
@state_option
@json_option
@click.pass_context
def audit_command(
    context: click.Context,
    *,
    since: datetime | None,
    until: datetime | None,
    actor: str | None,
    action: str | None,
    resource: str | None,
    limit: int,
    state: Path | None,
    as_json: bool,
) -> None:
    """Show the audit trail, the newest first: starts, cancels and changes, refused ones too.

    The result is the HTTP status of the answer; for the command line, the one that an answer would have had.
    """
    filter_by = AuditFilter(actor=actor, action=action, resource=resource, since=since, until=until)
    with opened_records(find_environment(context, state=state)) as records:
        events = records.audit.list_events(filter_by, limit=limit)
    if as_json:
        show_json([_as_json(event) for event in events])
        return
    show_rows(
        ["TIME", "ACTOR", "ACTION", "RESOURCE", "FROM", "REQUEST", "RESULT"],
        [
            [
                moment(event.at),
                f"{event.actor_name} ({event.actor_id})" if event.actor_kind == "key" else event.actor_name,
                event.action,
                event.resource or "",
                event.client_address or "",
                event.request_id or "",
                _result(event),
            ]
            for event in events
        ],
    )


def _result(event: AuditEvent) -> str:
    """Return the status of the answer, and what has come of the action since."""
    if event.status is None:
        return "unknown"
    outcome = event.detail.get("outcome")
    return f"{event.status} {outcome}" if isinstance(outcome, str) else str(event.status)


def _as_json(event: AuditEvent) -> Mapping[str, Any]:
    return {
        "id": event.id,
        "at": json_moment(event.at),
        "actor": {"kind": event.actor_kind, "id": event.actor_id, "name": event.actor_name},
        "action": event.action,
        "resource": event.resource,
        "clientAddress": event.client_address,
        "requestId": event.request_id,
        "status": event.status,
        "detail": dict(event.detail),
    }
