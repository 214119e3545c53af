"""Our own tables in Dagster's Postgres, schema `planasonix`: API keys and the audit trail; `Records` is the door."""

from collections.abc import Iterator
from contextlib import contextmanager


class Records:
    """What we keep beside Dagster's record."""


@contextmanager
def open_records(url: str) -> Iterator[Records]:  # noqa: ARG001
    """Give the records at a Postgres URL; it connects when first used."""
    yield Records()
