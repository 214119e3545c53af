"""`planasonix keys`: make, list, rotate and revoke API keys."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from api_adapter.commands.display import json_moment, moment, show_json, show_rows
from api_adapter.commands.errors import CommandError
from api_adapter.commands.options import Duration, Words, json_option, state_option
from api_adapter.commands.surroundings import find_environment, opened_records, recorded
from api_adapter.records import ApiKey, Scope

_LONGEST_NAME = 100
_NOT_AGAIN = "It is not shown again."


@click.group("keys", context_settings={"help_option_names": ["-h", "--help"]})
def keys_command() -> None:
    """Make, list, rotate and revoke the keys that open the Runs API.

    Changes hold at once in every process of the API.
    """


@keys_command.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What the key may do; repeat it for several. admin:organization stands for all.",
)
@click.option(
    "--pipeline",
    "pipelines",
    multiple=True,
    type=Words(),
    metavar="ID",
    help="The only pipelines that it sees; repeat it.",
)
@click.option(
    "--expires-in",
    type=Duration(least=timedelta(seconds=1)),
    metavar="TIME",
    help="How long it is valid, as 90d. Default: for ever.",
)
@state_option
@json_option
@click.pass_context
def create_command(
    context: click.Context,
    *,
    name: str,
    scopes: Sequence[str],
    pipelines: Sequence[str],
    expires_in: timedelta | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Make a key and print its secret, once.

    NAME is for people, and appears in the audit trail and on the runs that the key starts.
    """
    name = _checked_name(name)
    at = datetime.now(UTC)
    with opened_records(find_environment(context, state=state)) as records, recorded(records, "key.create") as told:
        key, secret = records.keys.create(
            name,
            scopes={Scope(scope) for scope in scopes},
            pipeline_ids=set(pipelines) or None,
            expires_at=at + expires_in if expires_in is not None else None,
            at=at,
        )
        told.status, told.resource = 201, key.id
        told.detail |= {"name": key.name, "scopes": list(key.scopes), "pipelines": _listed(key.pipeline_ids)}
    _show_secret(key, secret=secret, as_json=as_json, said=f"Made {key.id} {key.name!r}. {_NOT_AGAIN}")


@keys_command.command("list")
@state_option
@json_option
@click.pass_context
def list_command(context: click.Context, *, state: Path | None, as_json: bool) -> None:
    """List the keys, those too that are revoked or have expired; no secrets."""
    with opened_records(find_environment(context, state=state)) as records:
        keys = records.keys.list_all()
    at = datetime.now(UTC)
    if as_json:
        show_json([_as_json(key, at=at) for key in keys])
        return
    show_rows(
        ["ID", "NAME", "BEGINS WITH", "SCOPES", "PIPELINES", "CREATED", "EXPIRES", "LAST USED", "STATE"],
        [
            [
                key.id,
                key.name,
                key.prefix,
                " ".join(key.scopes),
                "all" if key.pipeline_ids is None else " ".join(key.pipeline_ids),
                moment(key.created_at),
                moment(key.expires_at) or "never",
                moment(key.last_used_at) or "never",
                key.state_at(at),
            ]
            for key in keys
        ],
        styles={"revoked": "dim", "expired": "dim"},
    )


@keys_command.command("rotate")
@click.argument("key_id", type=Words(), metavar="ID")
@click.option("--grace", type=Duration(), default="0s", metavar="TIME", help="How long the former secret still works.")
@state_option
@json_option
@click.pass_context
def rotate_command(context: click.Context, *, key_id: str, grace: timedelta, state: Path | None, as_json: bool) -> None:
    """Give a key another secret and print it, once; name, scopes and expiry stay.

    Without --grace the former secret is refused from now on.
    """
    at = datetime.now(UTC)
    with (
        opened_records(find_environment(context, state=state)) as records,
        recorded(records, "key.rotate", resource=key_id) as told,
    ):
        rotated = records.keys.rotate(key_id, grace=grace, at=at)
        if rotated is None:
            told.status = 404
            raise CommandError(
                f"There is no key {key_id!r} that can be rotated: `planasonix keys list` shows the keys.\n"
                "In place of one that is revoked or has expired, create another."
            )
        told.status = 200
        told.detail |= {"graceSeconds": int(grace.total_seconds())}
    key, secret = rotated
    former = (
        f"The former secret works until {moment(key.previous_until)}." if grace else "The former secret is refused."
    )
    _show_secret(key, secret=secret, as_json=as_json, said=f"Rotated {key.id} {key.name!r}. {former} {_NOT_AGAIN}")


@keys_command.command("revoke")
@click.argument("key_id", type=Words(), metavar="ID")
@state_option
@json_option
@click.pass_context
def revoke_command(context: click.Context, *, key_id: str, state: Path | None, as_json: bool) -> None:
    """Make a key useless, at once and for good; its streams end within 10 seconds."""
    at = datetime.now(UTC)
    with (
        opened_records(find_environment(context, state=state)) as records,
        recorded(records, "key.revoke", resource=key_id) as told,
    ):
        key = records.keys.revoke(key_id, at=at)
        if key is None:
            told.status = 404
            raise CommandError(f"There is no key {key_id!r}. `planasonix keys list` shows the keys.")
        told.status = 200
    if as_json:
        show_json(_as_json(key, at=at))
    else:
        click.echo(f"Revoked {key.id} {key.name!r}.")


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise click.BadParameter(f"must have 1 to {_LONGEST_NAME} printable characters", param_hint="NAME")
    return name


def _show_secret(key: ApiKey, *, secret: str, as_json: bool, said: str) -> None:
    """Print the secret alone, so that it can be taken by `$(...)`; what it is goes to stderr."""
    if as_json:
        show_json({**_as_json(key, at=datetime.now(UTC)), "key": secret})
        return
    click.echo(said, err=True)
    click.echo(secret)


def _as_json(key: ApiKey, *, at: datetime) -> Mapping[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "pipelines": _listed(key.pipeline_ids),
        "state": key.state_at(at),
        "createdAt": json_moment(key.created_at),
        "expiresAt": json_moment(key.expires_at),
        "lastUsedAt": json_moment(key.last_used_at),
        "revokedAt": json_moment(key.revoked_at),
        "previousUntil": json_moment(key.previous_until),
    }


def _listed(pipeline_ids: Sequence[str] | None) -> list[str] | None:
    return None if pipeline_ids is None else list(pipeline_ids)
