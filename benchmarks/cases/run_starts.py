"""How fast runs go: from the request to the first node and to the end, many at once, and what a node adds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from benchmarks.control.runner import Runner, runners_of, seconds_of
from benchmarks.frame import Case, Goal, Sides, Site, seconds

_STARTS = 10  # of ours in a round
_LONG, _LONG_STOCK, _SHORT = 101, 11, 1  # nodes; stock would take minutes for more
_RUNS, _RUNS_STOCK = 100, 12


@contextmanager
def build_chain(site: Site) -> Iterator[Sides]:
    """Run a chain of 20 nodes, and wait for its end in the request that starts it."""
    runners = runners_of(site)
    yield Sides(
        ours=lambda: seconds(lambda: runners.ours.run("chain_20")),
        stock=lambda: seconds(lambda: runners.multiprocess.run("chain_20")),
        instance=lambda: seconds(lambda: runners.in_process.run("chain_20")),
    )


@contextmanager
def build_first_node(site: Site) -> Iterator[Sides]:
    """Start runs one after the other, and look when their first node has started."""
    runners = runners_of(site)
    seen: list[float] = []

    def ours() -> float:
        taken = [_first_node(runners.ours) for _ in range(_STARTS)]
        seen.extend(taken)
        return median(taken)

    yield Sides(
        ours=ours,
        stock=lambda: _first_node(runners.multiprocess),
        instance=lambda: _first_node(runners.in_process),
        details=lambda: {"p95 of ours (s)": p95(seen), "worst of ours (s)": max(seen)},
    )


def _first_node(runner: Runner) -> float:
    started = time.time()
    run = runner.run("chain_1")
    (node,) = runner.nodes(run["id"])
    return seconds_of(node["startedAt"]) - started


@contextmanager
def build_overhead(site: Site) -> Iterator[Sides]:
    """Compare the time that a long chain takes from its start to its end with that of a single node."""
    runners = runners_of(site)
    yield Sides(
        ours=lambda: _per_node(runners.ours, nodes=_LONG),
        stock=lambda: _per_node(runners.multiprocess, nodes=_LONG_STOCK),
        instance=lambda: _per_node(runners.in_process, nodes=_LONG_STOCK),
    )


def _per_node(runner: Runner, *, nodes: int) -> float:
    long, short = _inside(runner, nodes=nodes), _inside(runner, nodes=_SHORT)
    return (long - short) / (nodes - _SHORT)


def _inside(runner: Runner, *, nodes: int) -> float:
    run = runner.run(f"chain_{nodes}")
    return seconds_of(run["finishedAt"]) - seconds_of(run["startedAt"])


@contextmanager
def build_many(site: Site) -> Iterator[Sides]:
    """Post many runs of one node at once, and wait until all have ended."""
    runners = runners_of(site)

    yield Sides(
        ours=lambda: _per_minute(runners.ours, number=_RUNS),
        stock=lambda: _per_minute(runners.multiprocess, number=_RUNS_STOCK),
        instance=lambda: _per_minute(runners.in_process, number=_RUNS_STOCK),
    )


def _per_minute(runner: Runner, *, number: int) -> float:
    return number / runner.run_many("chain_1", number=number) * 60


def p95(values: list[float]) -> float:
    """Return the value that 95 of 100 do not exceed."""
    return sorted(values)[max(-(-len(values) * 95 // 100) - 1, 0)]


RUN_STARTS = (
    Case(
        name="chain_20",
        title="20 trivial nodes in a chain, from POST to finished",
        goal=Goal(figure=1.5),
        build=build_chain,
        rounds=3,
        warm_up=False,
    ),
    Case(
        name="first_node",
        title="from POST to the first node's start, capacity free",
        goal=Goal(figure=0.5),
        build=build_first_node,
        rounds=5,
        warm_up=False,
    ),
    Case(
        name="node_overhead",
        title="what a node adds to a run",
        goal=Goal(figure=0.03),
        build=build_overhead,
        rounds=3,
        warm_up=False,
    ),
    Case(
        name="runs_per_minute",
        title=f"{_RUNS} runs of one node posted at once ({_RUNS_STOCK} to stock)",
        goal=Goal(times_better_than_stock=10),
        build=build_many,
        unit="1/min",
        better="higher",
        rounds=2,
        warm_up=False,
    ),
)
