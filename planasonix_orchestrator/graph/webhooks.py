"""webhooks.yaml: whom to tell of runs, by endpoint id; secrets only as names of environment variables."""

import re
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from planasonix_orchestrator.contract.webhooks import RUN_EVENTS, RunEvent
from planasonix_orchestrator.graph.model import DocumentModel, EnvironmentSecret, PipelineId
from planasonix_orchestrator.graph.source import Fault
from planasonix_orchestrator.graph.validation import nearest

EndpointId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=100)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=100)]

# Ours, or those of the connection: whoever sets them would break the signature or the request.
_OURS = re.compile(
    r"webhook-.*|host|content-.*|transfer-encoding|connection|upgrade|te|trailer|user-agent", re.IGNORECASE
)
_SECRET = re.compile(r"auth|cookie|token|secret|password|credential|key", re.IGNORECASE)


class EndpointDocument(DocumentModel):
    """One address that is told of runs."""

    url: str | EnvironmentSecret = Field(
        description="Where to POST: https, or http on the loopback interface. An address that is a secret by itself "
        "stands in an environment variable."
    )
    secret: EnvironmentSecret = Field(
        description="The key of the signatures, as Standard Webhooks has it: `whsec_...`."
    )
    previous_secret: EnvironmentSecret | None = Field(
        default=None, description="While the secret is being replaced, the former one: messages carry both signatures."
    )
    events: tuple[RunEvent, ...] = Field(
        default=RUN_EVENTS, min_length=1, strict=False, description="What it is told of; everything by default."
    )
    pipelines: tuple[PipelineId, ...] | None = Field(
        default=None, min_length=1, strict=False, description="Only of runs of these pipelines; of all by default."
    )
    enabled: bool = Field(default=True, description="While false, it is told nothing, and not afterwards either.")
    headers: dict[HeaderName, str | EnvironmentSecret] = Field(
        default_factory=dict, description="Sent along; values that are secrets come from the environment."
    )


class WebhooksDocument(DocumentModel):
    """The file itself: ``endpoints: {ops: {url: https://..., secret: {env: OPS_SECRET}}}``."""

    endpoints: dict[EndpointId, EndpointDocument] = Field(default_factory=dict, description="By id.")


def check_endpoints(document: WebhooksDocument) -> Iterator[Fault]:
    """Yield `invalid_value` and `plain_secret` for addresses and headers that can't be used as they stand."""
    for id_, endpoint in document.endpoints.items():
        path = ("endpoints", id_)
        if isinstance(endpoint.url, str):
            if has_credentials(endpoint.url):
                message = "'url' holds a credential, which would be told to whoever may see the endpoint"
                hint = "send it as a header from the environment, or take the whole url from there: {env: NAME}"
                yield Fault(code="plain_secret", message=message, path=(*path, "url"), hint=hint)
            elif (issue := address_issue(endpoint.url)) is not None:
                yield Fault(code="invalid_value", message=f"'url' {issue}", path=(*path, "url"))
        for name, value in endpoint.headers.items():
            if _OURS.fullmatch(name):
                message = f"header {name!r} is set by the notifier"
                yield Fault(code="invalid_value", message=message, path=(*path, "headers", name), hint="leave it out")
            elif isinstance(value, str) and not (value.isascii() and value.isprintable()):
                message = f"header {name!r} must be printable ASCII"
                yield Fault(code="invalid_value", message=message, path=(*path, "headers", name))
            elif isinstance(value, str) and _SECRET.search(name):
                message = f"{name!r} must be a secret by name: {{env: NAME}}"
                hint = "put the secret into an environment variable, and the variable's name here"
                yield Fault(code="plain_secret", message=message, path=(*path, "headers", name), hint=hint)


def check_pipelines(document: WebhooksDocument, *, known: Collection[str]) -> Iterator[Fault]:
    """Yield `unknown_pipeline` where an endpoint waits for runs of a pipeline that is not in the folder."""
    for id_, endpoint in document.endpoints.items():
        for index, pipeline_id in enumerate(endpoint.pipelines or ()):
            if pipeline_id not in known:
                yield Fault(
                    code="unknown_pipeline",
                    message=f"there is no pipeline {pipeline_id!r} in this folder",
                    path=("endpoints", id_, "pipelines", index),
                    hint=nearest(pipeline_id, known),
                )


def has_credentials(url: str) -> bool:
    """Tell whether a URL names a user or a password, or has a query that speaks of a secret."""
    place, _, query = url.partition("://")[2].partition("?")
    return "@" in place.partition("/")[0] or bool(_SECRET.search(query))


def address_issue(url: str) -> str | None:
    """Return why nothing may be posted to a URL, in words that do not repeat it; None if it may be."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address"
    if parts.scheme not in {"http", "https"} or not host or not url.isascii() or re.search(r"\s", url):
        return "must be an address such as https://example.com/hooks"
    if parts.fragment:
        return "must not have a fragment (#...)"
    if parts.scheme == "http" and not is_loopback(host):
        return "must begin with https:// unless it is on the loopback interface"
    return None


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
