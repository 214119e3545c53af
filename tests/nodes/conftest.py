"""Fixtures of the node tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.workbench import Workbench, workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A session to run single nodes in."""
    with workbench(tmp_path) as bench:
        yield bench


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """One session for all examples of property tests; opening one for each would take too long."""
    with workbench(tmp_path_factory.mktemp("shared")) as bench:
        yield bench
