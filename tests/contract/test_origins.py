"""What started a run is told from its tags, to the API's callers and to webhooks alike."""

from collections.abc import Mapping

import pytest

from planasonix_orchestrator.contract.ids import decode_run_id
from planasonix_orchestrator.contract.origins import tell_origin

RUN, PARENT = "0b1c2d3e-0000-4000-8000-000000000001", "0b1c2d3e-0000-4000-8000-000000000002"
OURS = "planasonix/"


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({}, {"type": "manual"}),
        ({"user": "ada"}, {"type": "manual", "user": "ada"}),
        ({f"{OURS}trigger": "nonsense", "dagster/sensor_name": "s"}, {"type": "sensor", "sensor": "s"}),
        (
            {
                f"{OURS}trigger": "schedule",
                f"{OURS}schedule_id": "sch_a",
                f"{OURS}scheduled_at": "2025-03-27T02:00:00Z",
                "dagster/schedule_name": "sch_x",
            },
            {"type": "schedule", "scheduleId": "sch_a", "scheduledAt": "2025-03-27T02:00:00Z"},
        ),
        (
            {f"{OURS}trigger": "schedule_manual", f"{OURS}scheduled_at": "2025-03-27T02:00:00Z"},
            {"type": "schedule_manual"},
        ),
        (
            {f"{OURS}trigger": "sensor", f"{OURS}trigger_id": "trg_a", f"{OURS}upstream_run": "of-no-uuid"},
            {"type": "sensor", "triggerId": "trg_a", "upstreamRunId": "of-no-uuid"},
        ),
        (
            {"dagster/parent_run_id": PARENT, f"{OURS}schedule_id": "sch_a", f"{OURS}upstream_run": PARENT},
            {"type": "retry", "parentRunId": "PARENT"},
        ),
        (
            {
                "dagster/parent_run_id": PARENT,
                f"{OURS}tags_of": RUN,
                f"{OURS}trigger": "retry",
                f"{OURS}user": "ada",
            },
            {"type": "retry", "user": "ada", "parentRunId": "PARENT"},
        ),
    ],
)
def test_the_origin_of_a_run_is_told(tags: Mapping[str, str], told: Mapping[str, str]) -> None:
    """The kind, and what of it; a re-execution from the Dagster UI has taken over tags that tell of its parent only."""
    found = tell_origin(tags, run_id=RUN)
    if "parentRunId" in found:
        assert decode_run_id(found["parentRunId"]) == PARENT
        found["parentRunId"] = "PARENT"
    assert found == told
