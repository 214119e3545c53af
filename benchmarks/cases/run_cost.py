"""What runs cost, and what the stack costs while nothing runs."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.control.documents import write_many
from benchmarks.control.processes import cpu_seconds, megabytes
from benchmarks.control.runner import runners_of
from benchmarks.control.stacks import Stack, our_stack, stock_stack
from benchmarks.frame import Case, Goal, Sides, Site

_RUNS, _RUNS_STOCK = 20, 2
_PIPELINES = 1000
_SECONDS_TO_SETTLE = 600.0  # at most: after the start, all parts load all pipelines
_SECONDS_OF_REST = 15.0  # with less than this percentage of a core, after which a stack has come to rest
_PERCENT_AT_REST = 12.0
_SECONDS_AT_REST = 60.0
_API = "api"  # ours, which a stock stack does without


@contextmanager
def build_cpu(site: Site) -> Iterator[Sides]:
    """Run a pipeline of three nodes again and again, and count the CPU seconds of all processes of the stack."""
    runners = runners_of(site)
    yield Sides(
        ours=lambda: runners.ours.cpu_of_runs("three", number=_RUNS),
        stock=lambda: runners.multiprocess.cpu_of_runs("three", number=_RUNS_STOCK),
        instance=lambda: runners.in_process.cpu_of_runs("three", number=_RUNS_STOCK),
    )


@dataclass(slots=True)
class _Rest:
    """A stack at rest, and what its parts have taken the last time: percent of a core, megabytes."""

    stack: Stack
    percent: dict[str, float] = field(default_factory=dict)

    def look(self) -> float:
        """Return the percentage of one core that the stack takes."""
        parts = [part for part in self.stack.parts if self.stack.is_ours or part != _API]
        before = {part: cpu_seconds(self.stack.processes_of(part)) for part in parts}
        time.sleep(_SECONDS_AT_REST)
        self.percent = {
            part: (cpu_seconds(self.stack.processes_of(part)) - before[part]) / _SECONDS_AT_REST * 100 for part in parts
        }
        return sum(self.percent.values())

    def memory(self) -> float:
        """Return the megabytes that the stack holds."""
        return sum(self._megabytes().values())

    def details(self) -> Mapping[str, float]:
        """Return what each part takes."""
        memory = self._megabytes()
        cpu = {f"{part} (%)": percent for part, percent in self.percent.items()}
        return {**cpu, **{f"{part} (MB)": figure for part, figure in memory.items()}}

    def _megabytes(self) -> dict[str, float]:
        parts = [part for part in self.stack.parts if self.stack.is_ours or part != _API]
        return {part: megabytes(self.stack.processes_of(part)) for part in parts}


@contextmanager
def build_idle(site: Site) -> Iterator[Sides]:
    """Leave both stacks alone with 1,000 pipelines."""
    ours, stock = _at_rest(site)
    yield Sides(ours=ours.look, stock=stock.look, details=ours.details)


@contextmanager
def build_idle_memory(site: Site) -> Iterator[Sides]:
    """Look at the memory of both stacks with 1,000 pipelines."""
    ours, stock = _at_rest(site)
    yield Sides(ours=ours.memory, stock=stock.memory)


def _at_rest(site: Site) -> tuple[_Rest, _Rest]:
    resting: tuple[_Rest, _Rest] = site.share("stacks at rest", lambda: _open_at_rest(site))
    return resting


@contextmanager
def _open_at_rest(site: Site) -> Iterator[Any]:
    folder = site.folder("idle")
    write_many(folder / "pipelines", number=_PIPELINES)
    with (
        our_stack(folder / "ours", pipelines=folder / "pipelines") as ours,
        stock_stack(folder / "stock", pipelines=folder / "pipelines") as stock,
    ):
        _settle(ours)
        _settle(stock)
        yield _Rest(ours), _Rest(stock)


def _settle(stack: Stack) -> None:
    deadline = time.monotonic() + _SECONDS_TO_SETTLE
    percent = 100.0
    while percent > _PERCENT_AT_REST:
        assert time.monotonic() < deadline, f"the stack does not come to rest: it takes {percent:.0f} % of a core"
        before = cpu_seconds(stack.processes())
        time.sleep(_SECONDS_OF_REST)
        percent = (cpu_seconds(stack.processes()) - before) / _SECONDS_OF_REST * 100


RUN_COST = (
    Case(
        name="run_cpu",
        title="CPU seconds of the whole stack for a run of 3 nodes",
        goal=Goal(times_better_than_stock=10),
        build=build_cpu,
        unit="CPU s",
        rounds=2,
        warm_up=False,
    ),
    Case(
        name="idle",
        title=f"the stack at rest for {_SECONDS_AT_REST:g} s with {_PIPELINES:,} pipelines",
        goal=Goal(figure=3),
        build=build_idle,
        unit="% of a core",
        rounds=1,
        warm_up=False,
    ),
    Case(
        name="idle_memory",
        title=f"memory of the stack at rest with {_PIPELINES:,} pipelines",
        goal=Goal(),
        build=build_idle_memory,
        unit="MB",
        rounds=1,
        warm_up=False,
    ),
)
