"""What a benchmark case is, and how it is measured: sides, taken in turn, compared by their medians."""

import difflib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

from benchmarks.cores import cores_awake

Side = Literal["ours", "stock", "instance", "limit", "base"]
SIDES: tuple[Side, ...] = ("ours", "stock", "instance", "limit", "base")
Measure = Callable[[], float]
_Shared = TypeVar("_Shared")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The same work done several ways; each call does it once and returns the figure in the case's unit.

    `stock` is how it is done without us, `instance` the same with less between: through the Python methods of
    `DagsterInstance`, or in one process. `limit` is the best that could be had (one hand-written query, bare SQL), and
    `base` ours where it should be no quicker: on less data, or at the beginning instead of the end.

    `details` are further figures by name, asked for after the last round.
    """

    ours: Measure
    stock: Measure | None = None
    instance: Measure | None = None
    limit: Measure | None = None
    base: Measure | None = None
    details: Callable[[], Mapping[str, float]] = dict

    def __iter__(self) -> Iterator[tuple[Side, Measure]]:
        for side in SIDES:
            measure: Measure | None = getattr(self, side)
            if measure is not None:
                yield side, measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What must hold for a case; conditions that are None do not count."""

    figure: float | None = None
    times_better_than_stock: float | None = None
    times_the_limit: float | None = None
    times_the_base: float | None = None

    def describe(self, *, unit: str, better: Literal["lower", "higher"]) -> str:
        """Return the goal in words."""
        conditions = (
            (self.figure, f"ours {'≤' if better == 'lower' else '≥'} {self.figure or 0:g} {unit}"),
            (self.times_better_than_stock, f"stock / ours ≥ {self.times_better_than_stock or 0:g}"),
            (self.times_the_limit, f"ours / limit ≤ {self.times_the_limit or 0:g}"),
            (self.times_the_base, f"ours / base ≤ {self.times_the_base or 0:g}"),
        )
        return ", ".join(text for value, text in conditions if value is not None) or "none"


class Site:
    """Where cases are measured: a folder that is kept between invocations, and what cases share during one."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self._folder = folder
        self._opened = opened
        self._shared: dict[str, object] = {}

    def folder(self, name: str) -> Path:
        """Return a folder that is kept, made now if it is not there."""
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def share(self, name: str, opening: Callable[[], AbstractContextManager[_Shared]]) -> _Shared:
        """Return what goes by this name: opened when first asked for, closed after the last case."""
        if name not in self._shared:
            self._shared[name] = self._opened.enter_context(opening())
        return self._shared[name]  # type: ignore[return-value]  # what a name stands for is the cases' own affair


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A comparison: `build` prepares it on a site, and lends its sides.

    `warm_up`: whether a round that does not count goes before the others; without, `build` sees to it. `awake`: whether
    the cores are kept from sleeping, as what takes only milliseconds demands.
    """

    name: str
    title: str
    goal: Goal
    build: Callable[[Site], AbstractContextManager[Sides]]
    unit: str = "s"
    better: Literal["lower", "higher"] = "lower"
    rounds: int = 5
    warm_up: bool = True
    awake: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A measured case; the sides are medians of `samples`.

    `ratio_stock` and `ratio_instance` say how many times better we are than those, `ratio_limit` and `ratio_base` how
    many times worse, whichever way the unit counts.
    """

    name: str
    title: str
    unit: str
    ours: float
    stock: float | None
    instance: float | None
    limit: float | None
    base: float | None
    ratio_stock: float | None
    ratio_instance: float | None
    ratio_limit: float | None
    ratio_base: float | None
    goal: str
    met: bool
    samples: dict[Side, list[float]]
    details: Mapping[str, float]


class UnknownCaseError(Exception):
    """No case has this name."""

    def __init__(self, name: str, *, known: Iterable[str]) -> None:
        known = tuple(known)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        super().__init__(f"no benchmark case is named {name!r}; {hint}")


class Cases:
    """The cases by name, in their order."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._cases: dict[str, Case] = {}
        for case in cases:
            if case.name in self._cases:
                raise ValueError(f"two benchmark cases are named {case.name!r}")
            self._cases[case.name] = case

    def get(self, name: str) -> Case:
        """Return the case of this name; `UnknownCaseError` with the nearest name if there is none."""
        if name not in self._cases:
            raise UnknownCaseError(name, known=self._cases)
        return self._cases[name]

    def __iter__(self) -> Iterator[Case]:
        return iter(self._cases.values())


def seconds(work: Callable[[], object]) -> float:
    """Return how long the work took on the wall clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def typical(work: Callable[[], object], *, times: int = 20, within: float = 1.0) -> float:
    """Return the median of how long the work took, done so many times, or fewer once so many seconds have gone."""
    taken: list[float] = []
    while len(taken) < times and sum(taken) < within:
        taken.append(seconds(work))
    return median(taken)


def measure(case: Case, *, site: Site, rounds: int | None = None) -> Outcome:
    """Measure all sides of a case in turn, so that what the machine does besides falls on all of them alike.

    One round before the others warms up caches and does not count.
    """
    samples: dict[Side, list[float]] = {}
    with case.build(site) as sides, cores_awake() if case.awake else nullcontext():
        for number in range((rounds or case.rounds) + case.warm_up):
            for side, take in sides:
                figure = take()
                if number >= case.warm_up:
                    samples.setdefault(side, []).append(figure)
        details = dict(sides.details())
    return evaluate(case, samples=samples, details=details)


def evaluate(case: Case, *, samples: dict[Side, list[float]], details: Mapping[str, float] | None = None) -> Outcome:
    """Return the medians, their ratios, and whether the goal is met."""
    ours = median(samples["ours"])
    medians = {side: median(samples[side]) if side in samples else None for side in SIDES}
    lower = case.better == "lower"

    def times_better(side: Side) -> float | None:
        other = medians[side]
        return None if other is None else (other / ours if lower else ours / other)

    def times_worse(side: Side) -> float | None:
        other = medians[side]
        return None if other is None else (ours / other if lower else other / ours)

    goal = case.goal
    ratios = {
        "ratio_stock": times_better("stock"),
        "ratio_instance": times_better("instance"),
        "ratio_limit": times_worse("limit"),
        "ratio_base": times_worse("base"),
    }
    met = (
        (goal.figure is None or (ours <= goal.figure if lower else ours >= goal.figure))
        and _holds(ratios["ratio_stock"], at_least=goal.times_better_than_stock)
        and _holds(ratios["ratio_limit"], at_most=goal.times_the_limit)
        and _holds(ratios["ratio_base"], at_most=goal.times_the_base)
    )
    return Outcome(
        name=case.name,
        title=case.title,
        unit=case.unit,
        ours=ours,
        stock=medians["stock"],
        instance=medians["instance"],
        limit=medians["limit"],
        base=medians["base"],
        **ratios,
        goal=goal.describe(unit=case.unit, better=case.better),
        met=met,
        samples=samples,
        details=details or {},
    )


def _holds(ratio: float | None, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    if at_least is None and at_most is None:
        return True
    if ratio is None:
        return False
    return (at_least is None or ratio >= at_least) and (at_most is None or ratio <= at_most)
