"""The benchmark frame: sides in turn, medians, ratios, goals."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from benchmarks.cases import CASES
from benchmarks.frame import Case, Cases, Goal, Sides, Site, UnknownCaseError, evaluate, measure, typical
from benchmarks.report import write_latest


@contextmanager
def nothing(_site: Site) -> Iterator[Sides]:
    """Sides that do no work."""
    yield Sides(ours=lambda: 1.0)


def case(goal: Goal, *, better: str = "lower", name: str = "case") -> Case:
    """A case with this goal."""
    return Case(name=name, title="A case", goal=goal, build=nothing, better="lower" if better == "lower" else "higher")


def test_sides_take_turns_and_the_first_round_does_not_count(tmp_path: Path) -> None:
    """Each round measures every side once; the warm-up round is not among the samples."""
    taken: list[str] = []

    def side(name: str) -> float:
        taken.append(name)
        return float(len(taken))

    @contextmanager
    def build(_site: Site) -> Iterator[Sides]:
        yield Sides(ours=lambda: side("ours"), limit=lambda: side("limit"))

    case = Case(name="turns", title="Turns", goal=Goal(), build=build, rounds=2)
    with ExitStack() as opened:
        outcome = measure(case, site=Site(tmp_path, opened))
    assert taken == ["ours", "limit"] * 3
    assert outcome.samples == {"ours": [3.0, 5.0], "limit": [4.0, 6.0]}
    assert outcome.stock is None
    assert outcome.ratio_stock is None


def test_a_case_may_do_without_a_warm_up_and_tell_further_figures(tmp_path: Path) -> None:
    """The first round counts then; `details` are asked for after the last one."""
    taken: list[float] = []

    def ours() -> float:
        taken.append(float(len(taken)))
        return taken[-1]

    @contextmanager
    def build(_site: Site) -> Iterator[Sides]:
        yield Sides(ours=ours, details=lambda: {"worst": max(taken)})

    case = Case(name="cold", title="Cold", goal=Goal(), build=build, rounds=3, warm_up=False)
    with ExitStack() as opened:
        outcome = measure(case, site=Site(tmp_path, opened))
    assert outcome.samples == {"ours": [0.0, 1.0, 2.0]}
    assert outcome.details == {"worst": 2.0}


def test_figures_are_medians_and_ratios_compare_them() -> None:
    """`ratio_stock` is stock / ours and `ratio_limit` ours / limit, of medians."""
    samples = {"ours": [2.0, 1.0, 90.0], "stock": [20.0, 20.0, 20.0], "limit": [1.0, 1.0, 1.0]}
    outcome = evaluate(case(Goal(times_better_than_stock=10, times_the_limit=2)), samples=samples)  # type: ignore[arg-type]
    assert (outcome.ours, outcome.ratio_stock, outcome.ratio_limit, outcome.met) == (2.0, 10.0, 2.0, True)


def test_ours_is_compared_with_what_it_should_equal_and_with_dagsters_own_methods() -> None:
    """`ratio_base` is ours / base and `ratio_instance` instance / ours."""
    samples = {"ours": [1.2], "instance": [12.0], "base": [1.0]}
    outcome = evaluate(case(Goal(times_the_base=1.3)), samples=samples)  # type: ignore[arg-type]
    assert (outcome.ratio_base, outcome.ratio_instance, outcome.met) == (1.2, 10.0, True)


def test_work_is_repeated_until_there_was_enough_of_it() -> None:
    """`typical` stops after so many times, or once so many seconds have gone, whichever comes first."""
    done: list[int] = []
    typical(lambda: done.append(1), times=7)
    assert len(done) == 7
    typical(lambda: done.append(1), times=7, within=1e-9)
    assert len(done) == 8


def test_cases_share_what_goes_by_a_name(tmp_path: Path) -> None:
    """What is shared is opened once, and closed when the invocation ends."""
    events: list[str] = []

    @contextmanager
    def opening() -> Iterator[list[str]]:
        events.append("opened")
        yield events
        events.append("closed")

    with ExitStack() as opened:
        site = Site(tmp_path, opened)
        assert site.share("events", opening) is site.share("events", opening)
        assert events == ["opened"]
    assert events == ["opened", "closed"]


def test_a_unit_that_counts_upwards_turns_the_ratios_round() -> None:
    """Where more is better, ten times as many as stock is a `ratio_stock` of 10."""
    samples = {"ours": [1000.0], "stock": [100.0], "limit": [2000.0]}
    outcome = evaluate(case(Goal(figure=900), better="higher"), samples=samples)  # type: ignore[arg-type]
    assert (outcome.ratio_stock, outcome.ratio_limit, outcome.met) == (10.0, 2.0, True)


@pytest.mark.parametrize(
    "goal",
    [
        Goal(figure=1.9),
        Goal(times_better_than_stock=2.1),
        Goal(times_the_limit=1.9),
        Goal(times_the_base=1.2),
        Goal(figure=3, times_the_limit=1),
    ],
)
def test_one_condition_that_does_not_hold_misses_the_goal(goal: Goal) -> None:
    """A goal is met only if all of its conditions hold."""
    assert not evaluate(case(goal), samples={"ours": [2.0], "stock": [4.0], "limit": [1.0], "base": [1.6]}).met


def test_a_goal_that_needs_a_side_that_was_not_measured_is_missed() -> None:
    """No ratio, no success."""
    assert not evaluate(case(Goal(times_the_limit=2)), samples={"ours": [1.0]}).met


def test_unknown_cases_are_told_the_nearest_name() -> None:
    """A misspelt case is an error with the name that was meant."""
    with pytest.raises(UnknownCaseError, match="did you mean fused_pipeline"):
        CASES.get("fused_pipelin")


def test_two_cases_may_not_share_a_name() -> None:
    """Names are unique."""
    with pytest.raises(ValueError, match="two benchmark cases"):
        Cases((case(Goal()), case(Goal())))


def test_latest_json_has_the_documented_keys(tmp_path: Path) -> None:
    """The report lists the cases with their keys, and says what machine it was."""
    path = tmp_path / "results" / "latest.json"
    outcome = evaluate(case(Goal()), samples={"ours": [1.0]})
    write_latest([outcome], path=path, taken_at=datetime(2026, 1, 2, tzinfo=UTC))
    report = json.loads(path.read_text(encoding="utf-8"))
    sides = {"stock", "instance", "limit", "base"}
    keys = {"name", "unit", "ours", *sides, *(f"ratio_{side}" for side in sides), "goal", "met"}
    assert keys <= report["cases"][0].keys()
    assert {"cores", "memory_gb", "python", "duckdb", "dagster"} <= report["machine"].keys()
    assert report["taken_at"] == "2026-01-02T00:00:00+00:00"


def test_cores_are_kept_awake_while_a_case_is_measured(tmp_path: Path) -> None:
    """Each core of Linux has a process that is busy and gives way to all others; it ends with the measurement."""
    seen: list[psutil.Process] = []
    others = psutil.Process().children()

    def ours() -> float:
        seen[:] = [child for child in psutil.Process().children() if child not in others]
        return 1.0

    @contextmanager
    def build(_site: Site) -> Iterator[Sides]:
        yield Sides(ours=ours)

    case = Case(name="short", title="Short", goal=Goal(), build=build, rounds=1, awake=True)
    with ExitStack() as opened:
        measure(case, site=Site(tmp_path, opened))
    assert len(seen) == (len(os.sched_getaffinity(0)) if hasattr(os, "SCHED_IDLE") else 0)
    assert not any(process.is_running() for process in seen)
