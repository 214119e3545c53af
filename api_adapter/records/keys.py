"""API keys as they are stored."""

import hmac
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, case, insert, or_, select, union, update

from api_adapter.records.database import Database
from api_adapter.records.scopes import Scope
from api_adapter.records.secret import hash_of, make_secret, prefix_of
from api_adapter.records.tables import API_KEYS
from planasonix_orchestrator.contract.database import SCHEMA

KeyState = Literal["active", "expired", "revoked"]

TOUCH_EVERY = timedelta(minutes=1)  # how exact `last_used_at` is
_KEY = API_KEYS.c
_NAMES = tuple(column.name for column in _KEY)
_BY_PREFIX = f"""
    SELECT {", ".join(_NAMES)} FROM {SCHEMA}.api_keys WHERE prefix = %(prefix)s OR previous_prefix = %(prefix)s
"""  # noqa: S608  (names of ours)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, without its secret. `pipeline_ids` are the only pipelines that it sees; None for all.

    After a rotation with grace, the secret that was replaced stays valid until `previous_until`.
    """

    id: str
    name: str
    prefix: str
    hash: bytes = field(repr=False)
    previous_prefix: str | None = None
    previous_hash: bytes | None = field(default=None, repr=False)
    previous_until: datetime | None = None
    scopes: tuple[str, ...]
    pipeline_ids: tuple[str, ...] | None = None
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def accepts(self, secret: str, *, at: datetime) -> bool:
        """Tell whether the secret opens this key at that time; which of its characters is wrong takes no time."""
        prefix = prefix_of(secret)
        stored = self.hash if prefix == self.prefix else self.previous_hash
        right = hmac.compare_digest(hash_of(secret), stored or b"")
        end = self.end_of(prefix)
        return right and self.revoked_at is None and (end is None or at < end)

    def end_of(self, prefix: str) -> datetime | None:
        """Return when the secret with this prefix ceases to be valid by itself; None for never."""
        ends = (self.expires_at, None if prefix == self.prefix else self.previous_until)
        return min((end for end in ends if end is not None), default=None)

    def state_at(self, at: datetime) -> KeyState:
        """Tell whether the key can be used at that time."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= at else "active"


class Keys:
    """The table of API keys. `UnavailableError` if the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        *,
        scopes: Iterable[Scope],
        pipeline_ids: Collection[str] | None = None,
        expires_at: datetime | None = None,
        at: datetime,
    ) -> tuple[ApiKey, str]:
        """Make a key and return it with its secret, which nothing can show again."""
        secret = make_secret()
        key = ApiKey(
            id=f"key_{secrets.token_hex(8)}",
            name=name,
            prefix=prefix_of(secret),
            hash=hash_of(secret),
            scopes=tuple(sorted(scopes)),
            pipeline_ids=None if pipeline_ids is None else tuple(sorted(pipeline_ids)),
            created_at=at,
            expires_at=expires_at,
        )
        values = {name: getattr(key, name) for name in _NAMES}
        self._database.write(insert(API_KEYS).values(values))
        return key, secret

    def find(self, prefix: str) -> ApiKey | None:
        """Return the key of a secret that begins with this prefix, whether it may be used or not; None if none."""
        rows = self._database.fetch(_BY_PREFIX, {"prefix": prefix})
        return _key(rows[0]) if rows else None

    def list_all(self) -> Sequence[ApiKey]:
        """Return all keys, the oldest first, those too that can't be used any more."""
        return [_key(row) for row in self._database.read(select(API_KEYS).order_by(_KEY.created_at, _KEY.id))]

    def rotate(self, key_id: str, *, grace: timedelta = timedelta(), at: datetime) -> tuple[ApiKey, str] | None:
        """Give a key another secret and return both; the former one stays valid for the time of grace.

        None, and nothing happens, unless there is such a key and it is neither revoked nor expired.
        """
        secret = make_secret()
        statement = (
            update(API_KEYS)
            .where(_KEY.id == key_id, *_usable(at))
            .values(
                prefix=prefix_of(secret),
                hash=hash_of(secret),
                previous_prefix=_KEY.prefix if grace else None,
                previous_hash=_KEY.hash if grace else None,
                previous_until=at + grace if grace else None,
            )
            .returning(API_KEYS)
        )
        rows = self._database.write(statement)
        return (_key(rows[0]), secret) if rows else None

    def revoke(self, key_id: str, *, at: datetime) -> ApiKey | None:
        """Make a key useless from now on, everywhere, and return it; again changes nothing. None if there is none."""
        revoked_at = case((_KEY.revoked_at.is_(None), at), else_=_KEY.revoked_at)
        statement = update(API_KEYS).where(_KEY.id == key_id).values(revoked_at=revoked_at).returning(API_KEYS)
        rows = self._database.write(statement)
        return _key(rows[0]) if rows else None

    def touch(self, key_id: str, *, at: datetime) -> None:
        """Note that a key was used, at most once in `TOUCH_EVERY` however many processes do."""
        due = or_(_KEY.last_used_at.is_(None), _KEY.last_used_at <= at - TOUCH_EVERY)
        self._database.write(update(API_KEYS).where(_KEY.id == key_id, due).values(last_used_at=at))

    def valid_prefixes(self, prefixes: Collection[str], *, at: datetime) -> frozenset[str]:
        """Return those of the prefixes whose secrets are accepted at that time."""
        given = list(prefixes)
        current = select(_KEY.prefix).where(_KEY.prefix.in_(given), *_usable(at))
        previous = select(_KEY.previous_prefix).where(
            _KEY.previous_prefix.in_(given), _KEY.previous_until > at, *_usable(at)
        )
        return frozenset(row[0] for row in self._database.read(union(current, previous)))

    def has_any(self, *, at: datetime) -> bool:
        """Tell whether there is a key that can be used."""
        (row,) = self._database.read(select(select(API_KEYS).where(*_usable(at)).exists()))
        return bool(row[0])


def _usable(at: datetime) -> tuple[ColumnElement[bool], ...]:
    return _KEY.revoked_at.is_(None), or_(_KEY.expires_at.is_(None), _KEY.expires_at > at)


def _key(row: Sequence[Any]) -> ApiKey:
    """Return the key of a row that has all columns, in the order of the table."""
    key = dict(zip(_NAMES, row, strict=True))
    key["hash"] = bytes(key["hash"])
    key["scopes"] = tuple(key["scopes"])
    if key["previous_hash"] is not None:
        key["previous_hash"] = bytes(key["previous_hash"])
    if key["pipeline_ids"] is not None:
        key["pipeline_ids"] = tuple(key["pipeline_ids"])
    return ApiKey(**key)
