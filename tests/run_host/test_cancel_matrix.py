"""The cancel matrix: at each moment, each kind of work ends as canceled, and leaves nothing."""

from collections.abc import Iterator

import pytest

from tests.run_host.bench import Bench
from tests.run_host.hosted import hosted, pipeline
from tests.run_host.kinds import KINDS
from tests.run_host.moments import MOMENTS

pytestmark = pytest.mark.stack

GRACE_SECONDS = 1.5
SECONDS_ON_A_BUSY_MACHINE = 10.0
SECONDS_TO_START_A_HOST = 30.0


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, module_postgres_url: str) -> Iterator[Bench]:
    with hosted(
        tmp_path_factory.mktemp("matrix"),
        postgres_url=module_postgres_url,
        grace_seconds=GRACE_SECONDS,
        max_concurrent_runs=2 * len(KINDS),
    ) as host:
        bench = Bench(host, GRACE_SECONDS)
        bench.prepare()
        assert host.until(host.submit(pipeline("first"))) == "SUCCESS"  # the host has started
        yield bench


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cancellation_always_ends_in_a_canceled_run(bench: Bench, moment: str) -> None:
    """Whatever a run does and wherever it is, it is canceled in time, without a process, lock, file or row left."""
    runs = MOMENTS[moment](bench, KINDS)
    seconds = bench.until_canceled(runs)
    print(moment, {kind: round(each, 2) for kind, each in seconds.items()})  # noqa: T201  (with -s: the table of times)
    bench.check(runs)
    away = SECONDS_TO_START_A_HOST if moment == "host down" else 0.0
    assert max(seconds.values()) < GRACE_SECONDS + SECONDS_ON_A_BUSY_MACHINE + away
