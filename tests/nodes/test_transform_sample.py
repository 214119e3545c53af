"""transform.sample."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planasonix_orchestrator.nodes.transforms.sample import Sample
from tests.nodes.workbench import PROPERTY, Workbench


@PROPERTY
@given(count=st.integers(0, 30), wanted=st.integers(0, 40), seed=st.integers(0, 2**63 - 1))
def test_a_number_of_rows_is_exact(shared_bench: Workbench, count: int, wanted: int, seed: int) -> None:
    """As many rows as asked for go on, or all there are; each at most once, in the order in which they came."""
    relation = shared_bench.values([(number,) for number in range(count)], types=("INTEGER",))
    rows = shared_bench.rows(shared_bench.run(Sample(), {"rows": wanted, "seed": seed}, relation))
    assert len(rows) == min(count, wanted)
    assert rows == sorted(set(rows))


@pytest.mark.parametrize("config", [{"rows": 1000}, {"rate": 0.1}])
def test_a_seed_makes_the_choice_repeatable(bench: Workbench, config: dict[str, Any]) -> None:
    """One seed chooses the same rows each time, another seed others."""
    relation = bench.table("t", "SELECT range AS n FROM range(200000)")
    first, again, other = (bench.rows(bench.run(Sample(), {**config, "seed": seed}, relation)) for seed in (7, 7, 8))
    assert first == again
    assert len(set(first) & set(other)) < len(first) / 2


@pytest.mark.parametrize(("rate", "low", "high"), [(0, 0, 0), (0.25, 24_000, 26_000), (1, 100_000, 100_000)])
def test_a_rate_is_a_probability(bench: Workbench, rate: float, low: int, high: int) -> None:
    """About that share of the rows goes on; none at 0, all at 1."""
    result = bench.run(Sample(), {"rate": rate, "seed": 1}, bench.table("t", "SELECT range AS n FROM range(100000)"))
    assert low <= len(bench.rows(result)) <= high


def test_without_a_seed_the_seed_is_logged(bench: Workbench, caplog: pytest.LogCaptureFixture) -> None:
    """A choice by chance can be repeated later with the seed from the log."""
    relation = bench.table("t", "SELECT range AS n FROM range(1000)")
    with caplog.at_level(logging.INFO):
        chosen = bench.rows(bench.run(Sample(), {"rows": 10}, relation))
    seed = int(caplog.messages[-1].removeprefix("Sampling with seed "))
    assert bench.rows(bench.run(Sample(), {"rows": 10, "seed": seed}, relation)) == chosen


@pytest.mark.parametrize("config", [{}, {"rate": 0.5, "rows": 1}, {"rate": 1.5}, {"rows": -1}])
def test_either_rate_or_rows_is_needed(config: dict[str, Any]) -> None:
    """Neither, both, or values out of range are refused."""
    with pytest.raises(ValidationError):
        Sample.config_model.model_validate(config)
