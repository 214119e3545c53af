"""A world for each module, with a notifier that tries again soon."""

from collections.abc import Iterator

import pytest

from tests.conftest import database
from tests.notifier.world import World, world_at


@pytest.fixture(scope="module")
def world(postgres_server: str, dagster_tables: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose notifier runs already."""
    with (
        database(postgres_server, like=dagster_tables) as url,
        world_at(tmp_path_factory.mktemp("world"), url=url) as world,
    ):
        world.start()
        yield world
