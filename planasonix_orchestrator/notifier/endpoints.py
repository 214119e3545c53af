"""The endpoints of webhooks.yaml, made ready to be sent to: their secrets read from the environment."""

import binascii
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import ValidationError
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from planasonix_orchestrator.graph.beside import WEBHOOKS_FILE, load_webhooks
from planasonix_orchestrator.graph.model import EnvironmentSecret
from planasonix_orchestrator.graph.webhooks import EndpointDocument, address_issue

_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - of all secrets
_FEWEST_BYTES, _MOST_BYTES = 24, 64  # that a secret may have, by Standard Webhooks
SECONDS_TO_BE_GONE: Final = 3.0
_Stamp = tuple[int, ...]  # of a file; of one that is not there or can't be seen, an empty one


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is needed to send to an endpoint; `secrets` are texts that must be told to nobody else."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    signers: tuple[Webhook, ...] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint: its definition, and either what is needed to send to it, or why that can't be had."""

    id: str
    definition: EndpointDocument
    target: Target | None = None
    problem: str | None = None

    def takes(self, event_type: str, *, pipeline_id: str) -> bool:
        """Tell whether it is to be told of an event of a pipeline's run."""
        wanted = self.definition.pipelines
        return (
            self.definition.enabled
            and event_type in self.definition.events
            and (wanted is None or pipeline_id in wanted)
        )


class _ProblemError(Exception):
    """Why nothing can be sent to an endpoint, in words without secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """All endpoints by id, and whether these are all: of those that have problems only the ids are known."""

    by_id: Mapping[str, Endpoint] = field(default_factory=dict)
    faulty: tuple[str, ...] = ()
    readable: bool = True


class FolderEndpoints:
    """The endpoints of a pipelines folder, read again only when the file has changed.

    One that is missing counts as gone only when the file has been so for some seconds: while a branch is switched, say,
    or a file is replaced, there may be none for a moment.
    """

    def __init__(
        self, folder: Path, *, environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._clock = clock
        self._stamp: _Stamp | None = None
        self._endpoints = Endpoints(readable=False)
        self._awaited: Endpoints | None = None  # what will count, unless the file changes before
        self._changed_at = 0.0

    def read(self) -> Endpoints:
        """Return the endpoints as they are now: the same object as before if nothing has changed."""
        stamp = _stamp(self._folder / WEBHOOKS_FILE)
        if stamp != self._stamp:
            self._stamp, self._changed_at = stamp, self._clock()
            found, former = self._load(), self._endpoints.by_id
            certain = bool(stamp) and former.keys() <= found.by_id.keys()
            self._awaited = None if certain else found
            kept = replace(found, by_id={**former, **found.by_id}, readable=found.readable and bool(stamp))
            self._endpoints = found if certain else kept
        elif self._awaited is not None and self._has_lasted():
            self._endpoints, self._awaited = self._awaited, None
        return self._endpoints

    def _has_lasted(self) -> bool:
        # Where there is not even a folder, nobody knows, however long.
        return self._clock() - self._changed_at >= SECONDS_TO_BE_GONE and self._folder.is_dir()

    def _load(self) -> Endpoints:
        loaded = load_webhooks(self._folder)
        definitions = loaded.document.endpoints.items()
        by_id = {id_: ready(id_, each, environment=self._environment) for id_, each in definitions}
        return Endpoints(by_id=by_id, faulty=loaded.faulty, readable=loaded.readable)


def ready(id_: str, definition: EndpointDocument, *, environment: Mapping[str, str]) -> Endpoint:
    """Return an endpoint with what is needed to send to it, or with its problem."""
    try:
        target = _target(definition, environment=environment)
    except _ProblemError as error:
        return Endpoint(id=id_, definition=definition, problem=str(error))
    return Endpoint(id=id_, definition=definition, target=target)


def write_definition(definition: EndpointDocument) -> dict[str, Any]:
    """Return a definition as JSON, as webhooks.yaml could have it."""
    return definition.model_dump(mode="json", by_alias=True, exclude_none=True)


def read_definition(data: Mapping[str, Any]) -> EndpointDocument | None:
    """Return the definition that `write_definition` wrote; None if another version of this program did."""
    try:
        return EndpointDocument.model_validate(data)
    except ValidationError:
        return None


def _target(definition: EndpointDocument, *, environment: Mapping[str, str]) -> Target:
    def value(field_name: str, secret: EnvironmentSecret) -> str:
        found = environment.get(secret.env)
        if not found:
            raise _ProblemError(f"{field_name} is read from the environment variable {secret.env}, which is not set")
        return found

    def text(field_name: str, given: str | EnvironmentSecret) -> str:
        return given if isinstance(given, str) else value(field_name, given)

    url = text("url", definition.url)
    if (issue := address_issue(url)) is not None:
        raise _ProblemError(f"url {issue}")
    headers = {name: text(f"header {name}", given) for name, given in definition.headers.items()}
    for name, sent in headers.items():
        if not sent.isascii() or not sent.isprintable():
            raise _ProblemError(f"header {name} must be printable ASCII")
    keys = {"secret": definition.secret, "previousSecret": definition.previous_secret}
    secrets = {name: value(name, key) for name, key in keys.items() if key is not None}
    return Target(
        url=url,
        headers=headers,
        signers=tuple(_signer(name, secret) for name, secret in secrets.items()),
        secrets=tuple(_told_to_nobody(definition, url=url, headers=headers, keys=secrets.values())),
    )


def _signer(field_name: str, secret: str) -> Webhook:
    expected = f"{field_name} must be {_SECRET_PREFIX} and the base64 of {_FEWEST_BYTES} to {_MOST_BYTES} bytes"
    encoded = secret.removeprefix(_SECRET_PREFIX)
    if encoded == secret:
        raise _ProblemError(expected)
    try:
        length = len(binascii.a2b_base64(f"{encoded}==", strict_mode=False))
        signer = Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        raise _ProblemError(expected) from None
    if not _FEWEST_BYTES <= length <= _MOST_BYTES:
        raise _ProblemError(expected)
    return signer


def _told_to_nobody(
    definition: EndpointDocument, *, url: str, headers: Mapping[str, str], keys: Iterable[str]
) -> Iterator[str]:
    yield from keys
    for name, given in definition.headers.items():
        if not isinstance(given, str):
            yield headers[name]
            yield from (part for part in headers[name].split(" ") if len(part) >= 8)  # "Bearer" is no secret
    if not isinstance(definition.url, str):
        yield url
        yield from filter(None, (urlsplit(url).path.strip("/"), urlsplit(url).query))


def _stamp(file: Path) -> _Stamp:
    try:
        status = file.stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)
