"""A database for each module of tests, since a run host is shared by the tests of one."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.conftest import superuser


@pytest.fixture(scope="module")
def module_postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of this module's own."""
    name = f"hosted_{uuid4().hex}"
    with superuser(postgres_server) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with superuser(postgres_server) as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
