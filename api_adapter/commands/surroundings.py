"""Where a command works: the environment of the stack, its records, and the audit trail of what is done here."""

import getpass
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from api_adapter.commands.errors import CommandError
from api_adapter.errors import UnavailableError
from api_adapter.records import AuditEvent, Records, open_records
from api_adapter.settings import POSTGRES_URL_VARIABLE, InvalidSettingError, MissingSettingError, read_postgres_url
from planasonix_orchestrator.contract.commands import Finders


def find_environment(context: click.Context, *, state: Path | None) -> Mapping[str, str]:
    """Return the environment that names the database: of the stack on `state`, else our own, else of a usual stack."""
    if state is None and os.environ.get(POSTGRES_URL_VARIABLE):
        return os.environ
    finders: Finders | None = context.find_root().obj
    if finders is None:
        raise CommandError(f"Set {POSTGRES_URL_VARIABLE} to the URL of Dagster's Postgres database.")
    return {**os.environ, **finders.stack(state)}


@contextmanager
def opened_records(environment: Mapping[str, str]) -> Iterator[Records]:
    """Give the records of the database; `CommandError` if it is away."""
    try:
        url = read_postgres_url(environment)
    except (MissingSettingError, InvalidSettingError) as error:
        raise CommandError(str(error)) from error
    with open_records(url) as records:
        try:
            yield records
        except UnavailableError as error:
            cause = str(error.__cause__ or "").partition("\n")[0]
            raise CommandError(
                f"The database can't be reached{f': {cause}' if cause else ''}.\n"
                f"Start the stack with `planasonix up`, or set {POSTGRES_URL_VARIABLE} to where it is."
            ) from error


@dataclass
class Recorded:
    """What is being done by the user of this machine, and what the trail shall say of it: a failure until told."""

    status: int = 500
    resource: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@contextmanager
def recorded(records: Records, action: str, *, resource: str | None = None) -> Iterator[Recorded]:
    """Have an action on record before it is done, and with its result afterwards."""
    user = os_user()
    event = AuditEvent(
        at=datetime.now(UTC), actor_kind="cli", actor_id=user, actor_name=user, action=action, resource=resource
    )
    event_id = records.audit.begin(event)
    told = Recorded(resource=resource, detail={"host": socket.gethostname()})
    try:
        yield told
    finally:
        records.audit.finish(event_id, status=told.status, resource=told.resource, detail=told.detail)


def os_user() -> str:
    """Return the name of the user of this machine who runs the command, or the number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())
