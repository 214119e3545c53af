"""Runs from the queue to their end, through a real run host."""

from collections.abc import Iterator

import pytest

from tests.run_host.hosted import Hosted, hosted, pipeline

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, module_postgres_url: str) -> Iterator[Hosted]:
    with hosted(tmp_path_factory.mktemp("host"), postgres_url=module_postgres_url) as one:
        yield one


def test_a_queued_run_is_executed(host: Hosted) -> None:
    """A run that is put into the queue is executed by a process of its own, and succeeds."""
    run_id = host.submit(pipeline("quick", note="notes.txt"))
    assert host.until(run_id) == "SUCCESS"
    assert host.notes(run_id) == ["began", "ended"]
