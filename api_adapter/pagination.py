"""Keyset pages: cursors that are opaque, bound to the filters they were made for, and refused when tampered with."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Hashable
from hashlib import blake2b
from typing import Annotated, Any, TypeVar, overload

from fastapi import Query
from pydantic import BaseModel

from api_adapter.errors import InvalidRequestError

PositionT = TypeVar("PositionT", int, str)

DEFAULT_LIMIT = 50
MOST = 500

Limit = Annotated[int, Query(ge=1, le=MOST, description="Page size.")]
Cursor = Annotated[
    str | None,
    Query(description="Where to go on: `meta.cursor` of the page before, with the same filters."),
]


class PageMeta(BaseModel):
    """What a list says about itself: `cursor` leads to the next page and is null on the last one."""

    cursor: str | None


class ListPage(BaseModel):
    """Which part of a list of resources it is: `cursor` leads to the next page and is null on the last one."""

    limit: int
    cursor: str | None


class ListMeta(BaseModel):
    """What stands beside the items of a list."""

    page: ListPage


def encode_cursor(position: int | str, *, scope: Hashable) -> str:
    """Return the cursor behind `position` in the list that `scope` (its filters) selects."""
    payload = {"at": position, "of": _seal(position, scope=scope)}
    return urlsafe_b64encode(json.dumps(payload, separators=(",", ":")).encode()).decode().rstrip("=")


@overload
def decode_cursor(cursor: str, *, scope: Hashable) -> int: ...
@overload
def decode_cursor(cursor: str, *, scope: Hashable, kind: type[PositionT]) -> PositionT: ...
def decode_cursor(cursor: str, *, scope: Hashable, kind: type[Any] = int) -> int | str:
    """Return the position in a cursor, of the list's kind; `InvalidRequestError` unless this very list has made it."""
    position = _position(cursor)
    if position is None or type(position) is not kind or encode_cursor(position, scope=scope) != cursor:
        raise InvalidRequestError.of_field(
            "cursor", "is not a cursor of this list; use meta.cursor of the page before, with the same filters"
        )
    return position


def _position(cursor: str) -> int | str | None:
    try:
        payload: Any = json.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, Base64Error, RecursionError):
        return None
    position = payload.get("at") if isinstance(payload, dict) else None
    if isinstance(position, str):
        return position if position.isprintable() else None  # neither NUL nor half a surrogate pair
    return position if type(position) is int and 0 < position < 1 << 63 else None


def _seal(position: int | str, *, scope: Hashable) -> str:
    return blake2b(f"{position}|{scope!r}".encode(), digest_size=8).hexdigest()
