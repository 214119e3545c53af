"""The slice that a run is for, in tags and in variables."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.slices import (
    SLICE_VARIABLES,
    fill_slice,
    slice_at,
    slice_tags,
    slice_values,
)
from planasonix_orchestrator.contract.values import VariableValue

DUE = datetime(2025, 3, 30, 22, 30, tzinfo=UTC)
TAGS = slice_tags(DUE, previous=DUE - timedelta(days=1), following=DUE + timedelta(days=1), timezone="Europe/Berlin")


def test_the_tags_of_a_slice_give_its_variables() -> None:
    """Moments are RFC 3339 in UTC; the date is that of the schedule's zone, where it may be another day."""
    assert slice_values({**TAGS, tags.TRIGGER: "schedule"}) == {
        "scheduled_at": "2025-03-30T22:30:00Z",
        "ds": "2025-03-31",
        "previous_scheduled_at": "2025-03-29T22:30:00Z",
        "next_scheduled_at": "2025-03-31T22:30:00Z",
    }


def test_a_run_without_a_slice_is_for_the_moment_of_its_creation() -> None:
    """Whatever zone that moment is told in."""
    assert slice_values({tags.TRIGGER: "api"}) is None
    created = datetime(2025, 3, 31, 0, 30, 1, 500_000, tzinfo=timezone(timedelta(hours=2)))
    values = slice_at(created)
    assert values == {**dict.fromkeys(SLICE_VARIABLES, "2025-03-30T22:30:01Z"), "ds": "2025-03-30"}


def test_tags_that_say_only_when_a_run_was_due_are_a_slice() -> None:
    """As one may set them by hand in the Dagster UI."""
    values = slice_values({tags.SCHEDULED_AT: "2025-03-30T22:30:00Z"})
    assert values == {**dict.fromkeys(SLICE_VARIABLES, "2025-03-30T22:30:00Z"), "ds": "2025-03-30"}


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("{{ ds }}", "2025-03-31"),
        ("in/{{ds}}/{{ scheduled_at }}.csv", "in/2025-03-31/2025-03-30T22:30:00Z.csv"),
        ("{{ '{{' }} ds }}", "{{ ds }}"),
        ("plain", "plain"),
        (5, 5),
        (None, None),
    ],
)
def test_a_schedules_variables_may_speak_of_the_slice(value: VariableValue, filled: VariableValue) -> None:
    """In any place of a text."""
    values = slice_values(TAGS)
    assert values is not None
    assert fill_slice(value, values=values) == filled
