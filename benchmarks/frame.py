"""What a benchmark case is, and how it is measured: three sides, taken in turn, compared by their medians."""

import difflib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

Side = Literal["ours", "stock", "limit"]
Measure = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The same work done three ways; each call does it once and returns the figure in the case's unit.

    `stock` is how it is done without us, `limit` the best that could be had (one hand-written query, bare SQL).
    """

    ours: Measure
    stock: Measure | None = None
    limit: Measure | None = None

    def __iter__(self) -> Iterator[tuple[Side, Measure]]:
        for side, measure in (("ours", self.ours), ("stock", self.stock), ("limit", self.limit)):
            if measure is not None:
                yield side, measure  # type: ignore[misc]  # mypy widens the literals of the tuple to str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What must hold for a case; conditions that are None do not count."""

    figure: float | None = None
    times_better_than_stock: float | None = None
    times_the_limit: float | None = None

    def describe(self, *, unit: str, better: Literal["lower", "higher"]) -> str:
        """Return the goal in words."""
        conditions = (
            (self.figure, f"ours {'≤' if better == 'lower' else '≥'} {self.figure or 0:g} {unit}"),
            (self.times_better_than_stock, f"stock / ours ≥ {self.times_better_than_stock or 0:g}"),
            (self.times_the_limit, f"ours / limit ≤ {self.times_the_limit or 0:g}"),
        )
        return ", ".join(text for value, text in conditions if value is not None) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A comparison: `build` prepares it in a folder that is kept between invocations, and lends its sides."""

    name: str
    title: str
    goal: Goal
    build: Callable[[Path], AbstractContextManager[Sides]]
    unit: str = "s"
    better: Literal["lower", "higher"] = "lower"
    rounds: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A measured case; `ours`, `stock` and `limit` are medians of `samples`.

    `ratio_stock` says how many times better we are than stock, `ratio_limit` how many times worse than the limit,
    whichever way the unit counts.
    """

    name: str
    title: str
    unit: str
    ours: float
    stock: float | None
    limit: float | None
    ratio_stock: float | None
    ratio_limit: float | None
    goal: str
    met: bool
    samples: dict[Side, list[float]]


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


def measure(case: Case, *, folder: Path, rounds: int | None = None) -> Outcome:
    """Measure all sides of a case in turn, so that what the machine does besides falls on all of them alike.

    One round before the others warms up caches and does not count.
    """
    samples: dict[Side, list[float]] = {}
    with case.build(folder) as sides:
        for number in range((rounds or case.rounds) + 1):
            for side, take in sides:
                figure = take()
                if number:
                    samples.setdefault(side, []).append(figure)
    return evaluate(case, samples=samples)


def evaluate(case: Case, *, samples: dict[Side, list[float]]) -> Outcome:
    """Return the medians, their ratios, and whether the goal is met."""
    ours = median(samples["ours"])
    stock = median(samples["stock"]) if "stock" in samples else None
    limit = median(samples["limit"]) if "limit" in samples else None
    lower = case.better == "lower"
    ratio_stock = None if stock is None else (stock / ours if lower else ours / stock)
    ratio_limit = None if limit is None else (ours / limit if lower else limit / ours)
    goal = case.goal
    met = (
        (goal.figure is None or (ours <= goal.figure if lower else ours >= goal.figure))
        and _holds(ratio_stock, at_least=goal.times_better_than_stock)
        and _holds(ratio_limit, at_most=goal.times_the_limit)
    )
    return Outcome(
        name=case.name,
        title=case.title,
        unit=case.unit,
        ours=ours,
        stock=stock,
        limit=limit,
        ratio_stock=ratio_stock,
        ratio_limit=ratio_limit,
        goal=goal.describe(unit=case.unit, better=case.better),
        met=met,
        samples=samples,
    )


def _holds(ratio: float | None, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    if at_least is None and at_most is None:
        return True
    if ratio is None:
        return False
    return (at_least is None or ratio >= at_least) and (at_most is None or ratio <= at_most)
