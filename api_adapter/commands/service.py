"""The Runs API that a command talks to: its address, the credential, and what to do when it does not answer well."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click

from api_adapter.client import ForeignAnswerError, RefusedError, RunsClient, ServiceError, UnreachableError
from api_adapter.commands.display import legible_lines
from api_adapter.commands.errors import CommandError, ExitCode
from api_adapter.legible import legible
from planasonix_orchestrator.contract.commands import API_URL_VARIABLE, Finders, LocalApi

API_KEY_VARIABLE = "PLANASONIX_API_KEY"

_MAKE_A_KEY = (
    "Where the service runs, `planasonix keys create NAME --scope pipelines:read --scope pipelines:run` makes a key; "
    f"put it into {API_KEY_VARIABLE}."
)
_SENTENCE_ENDS = (".", "!", "?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Where the Runs API is, and the credential for it."""

    url: str
    key: str = field(repr=False)


@contextmanager
def opened_client(context: click.Context, *, state: Path | None) -> Iterator[RunsClient]:
    """Give a client of the service; what keeps it from an answer becomes a `CommandError` that says what to do."""
    service = find_service(context, state=state)
    with RunsClient(service.url, key=service.key, told=lambda line: click.echo(legible(line), err=True)) as client:
        try:
            yield client
        except ServiceError as error:
            raise tell_failure(error) from error


def find_service(context: click.Context, *, state: Path | None) -> Service:
    """Return the service of the stack on `state`, else that of the environment, else that of the usual stack.

    The key that a stack keeps goes to no other address than that stack's own.
    """
    finders: Finders | None = context.find_root().obj
    local = finders.api(state) if finders else None
    given = os.environ.get(API_URL_VARIABLE, "").strip() if state is None else ""
    url = _checked_url(given) if given else _local_url(local)
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if local is not None and local.url == url and (state is not None or not key):
        key = _kept_key(local.key_file) or key
    return Service(url=url, key=_checked_key(key))


def tell_failure(error: ServiceError) -> CommandError:
    """Return what a command says of a call without a good answer, and its exit code."""
    if isinstance(error, RefusedError):
        return _tell_refusal(error)
    if isinstance(error, UnreachableError) and not error.lost:
        hint = f"Is the stack up? `planasonix up` starts one; {API_URL_VARIABLE} names the address of another."
    elif isinstance(error, ForeignAnswerError):
        hint = f"{API_URL_VARIABLE} names the address of the Runs API, as http://127.0.0.1:8000."
    else:
        hint = "What it was asked for may have been done all the same: `planasonix runs` shows it, once it is back."
    return CommandError(f"{_sentence(str(error))}\n{hint}", exit_code=ExitCode.NO_SERVICE)


def _tell_refusal(error: RefusedError) -> CommandError:
    message = _sentence(error.message)
    if error.status == 401:
        return CommandError(f"{message}\n{_MAKE_A_KEY}", exit_code=ExitCode.NO_SERVICE)
    if error.status == 403:
        hint = "The key must have been made with that scope: `planasonix keys list` shows which ones there are."
        return CommandError(f"{message}\n{hint}", exit_code=ExitCode.NO_SERVICE)
    if error.status in {429, 500, 502, 503, 504}:
        request = f"\nIts log says more, under request id {legible(error.request_id)}." if error.request_id else ""
        return CommandError(f"{message}{request}", exit_code=ExitCode.NO_SERVICE)
    if error.code == "run_not_found":
        message += "\n`planasonix runs` shows those that there are."
    elif error.code == "trigger_not_found":
        message += "\n`planasonix triggers` shows those that there are."
    elif error.code == "retry_under_way":
        message += "\n`planasonix show` and its id tell how far that is."
    elif error.code == "pipeline_broken":
        message = "\n".join([message, *(legible(str(detail.get("issue"))) for detail in error.details)])
    return CommandError(message, exit_code=ExitCode.FAILED if error.code == "run_finished" else ExitCode.BAD_INPUT)


def _sentence(text: str) -> str:
    text = legible_lines(text, indent="") or "The service gave no reason."
    return text if text.endswith(_SENTENCE_ENDS) else f"{text}."


def _checked_url(text: str) -> str:
    """Return an address that can be used; it is not repeated, since it may hold a password."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and text.isprintable()
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise CommandError(
            f"{API_URL_VARIABLE} is no address such as http://127.0.0.1:8000.", exit_code=ExitCode.BAD_INPUT
        )
    if parts.username is not None:
        raise CommandError(
            f"{API_URL_VARIABLE} must not hold a user or a password: the key goes into {API_KEY_VARIABLE}.",
            exit_code=ExitCode.BAD_INPUT,
        )
    return text.rstrip("/")


def _local_url(local: LocalApi | None) -> str:
    if local is not None and local.url is not None:
        return local.url
    where = f"No stack runs on {local.state}" if local else "Nothing says where the Runs API is"
    raise CommandError(
        f"{where}.\nStart one with `planasonix up`, or set {API_URL_VARIABLE} to the address of the Runs API.",
        exit_code=ExitCode.NO_SERVICE,
    )


def _kept_key(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"The key in {file} can't be read: {error}.\nSet {API_KEY_VARIABLE} to a key of your own.",
            exit_code=ExitCode.NO_SERVICE,
        ) from error


def _checked_key(key: str) -> str:
    if not key:
        raise CommandError(f"There is no API key to use.\n{_MAKE_A_KEY}", exit_code=ExitCode.NO_SERVICE)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CommandError(
            f"{API_KEY_VARIABLE} holds what no key can be.\n{_MAKE_A_KEY}", exit_code=ExitCode.NO_SERVICE
        )
    return key
