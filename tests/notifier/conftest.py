"""A world for each module, with a notifier that tries again soon."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.conftest import superuser
from tests.notifier.world import World, world_at


@pytest.fixture(scope="module")
def world(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose notifier runs already."""
    name = f"notified_{uuid4().hex}"
    with superuser(postgres_server) as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    url = postgres_server.replace("/postgres?", f"/{name}?")
    with world_at(tmp_path_factory.mktemp("world"), url=url) as world:
        world.start()
        yield world
    with superuser(postgres_server) as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
