"""How long a cancel takes until nothing works any more, in work that can be interrupted and in work that can't."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.cases.run_starts import p95
from benchmarks.control.documents import SECONDS_HELD
from benchmarks.control.runner import Runner, runners_of
from benchmarks.frame import Case, Goal, Sides, Site

GRACE_SECONDS = 10
_CANCELS = 20  # of ours in a round, of which p95 counts
_SECONDS_INTO_WORK = 0.5


@contextmanager
def build_starting(site: Site) -> Iterator[Sides]:
    """Cancel runs in Dagster's state STARTING."""
    runners = runners_of(site)

    def stock() -> float:
        run_id = runners.multiprocess.start("query")
        runners.multiprocess.starting(run_id)
        start = time.monotonic()
        assert not runners.multiprocess.terminate(run_id), "Dagster cancels a run that is STARTING"
        runners.multiprocess.cancel(run_id)  # asks until it is not refused any more
        assert runners.multiprocess.ended(run_id)["status"] == "canceled"
        return time.monotonic() - start

    yield Sides(ours=lambda: p95([_cancel_starting(runners.ours) for _ in range(_CANCELS)]), stock=stock)


def _cancel_starting(runner: Runner) -> float:
    run_id = runner.start("query")
    runner.starting(run_id)
    start = time.monotonic()
    runner.cancel(run_id)
    assert runner.ended(run_id, pause=0.01)["status"] == "canceled"
    return time.monotonic() - start


def build_working(pipeline: str, *, cancels: int = _CANCELS) -> Callable[[Site], AbstractContextManager[Sides]]:
    """Return how to build the case that cancels this pipeline while its node works."""

    @contextmanager
    def build(site: Site) -> Iterator[Sides]:
        runners = runners_of(site)
        yield Sides(
            ours=lambda: p95([_cancel_working(runners.ours, pipeline) for _ in range(cancels)]),
            stock=lambda: _cancel_working(runners.multiprocess, pipeline),
            instance=lambda: _cancel_working(runners.in_process, pipeline),
        )

    return build


def _cancel_working(runner: Runner, pipeline: str) -> float:
    before = runner.stack.launched()
    run_id = runner.start(pipeline)
    runner.working(run_id)
    time.sleep(_SECONDS_INTO_WORK)
    return runner.until_stopped(run_id, before=before)


RUN_CANCELS = (
    Case(
        name="cancel_starting",
        title=f"cancel in STARTING, until canceled (p95 of {_CANCELS}; stock refuses, and is asked again)",
        goal=Goal(figure=3),
        build=build_starting,
        rounds=2,
        warm_up=False,
    ),
    Case(
        name="cancel_query",
        title=f"cancel in a long query, until no process works (p95 of {_CANCELS})",
        goal=Goal(figure=1),
        build=build_working("query"),
        rounds=2,
        warm_up=False,
    ),
    Case(
        name="cancel_copy",
        title=f"cancel in a copy into Postgres, until no process works (p95 of {_CANCELS})",
        goal=Goal(figure=1),
        build=build_working("copy"),
        rounds=2,
        warm_up=False,
    ),
    Case(
        name="cancel_stubborn",
        title=f"cancel in a C call of {SECONDS_HELD} s that holds the interpreter, until no process works",
        goal=Goal(figure=GRACE_SECONDS + 1),
        build=build_working("hold", cancels=1),
        rounds=1,
        warm_up=False,
    ),
)
