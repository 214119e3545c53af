"""Requests that may be sent again: the key by which they are known, and what the answers to them say."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Header

_REPLAYED = "Idempotent-Replayed"

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern="^[ -~]+$",
        description="Chosen by the caller, so that the request can be sent again: with the same key and body it means "
        "the same run, whether or not the first answer has arrived.",
    ),
]


def tell_replay(*, replayed: bool) -> Mapping[str, str]:
    """Return what the headers of an answer say of it: that an earlier request has done what this one asks for."""
    return {_REPLAYED: "true"} if replayed else {}


def replayed_header(what: str, *, request: str = "request of the same key") -> dict[str, Any]:
    """Return the declaration of that header, for answers that tell of a `what` that a `request` starts."""
    description = f"Sent if an earlier {request} has started the {what}."
    return {_REPLAYED: {"description": description, "schema": {"const": "true", "type": "string"}}}


def location_header(what: str) -> dict[str, Any]:
    """Return the declaration of the header that says where a `what` is."""
    return {"Location": {"description": f"Where the {what} can be read.", "schema": {"type": "string"}}}
