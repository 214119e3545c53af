"""A database for each module of tests, since a run host is shared by the tests of one."""

from collections.abc import Iterator

import pytest

from tests.conftest import database


@pytest.fixture(scope="module")
def module_postgres_url(postgres_server: str, dagster_tables: str) -> Iterator[str]:
    """The URL of a database of this module's own, with Dagster's tables."""
    with database(postgres_server, like=dagster_tables) as url:
        yield url
