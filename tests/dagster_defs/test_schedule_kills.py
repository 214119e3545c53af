"""A month of fires with a scheduler that is killed again and again: each due fire has exactly one outcome."""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dagster._core.scheduler.instigation import TickStatus

from planasonix_orchestrator.contract.slices import format_moment
from planasonix_orchestrator.dagster_defs.schedules.policy import GRACE
from planasonix_orchestrator.dagster_defs.schedules.times import Rhythm
from tests.dagster_defs.scheduling import opened_scheduler, scheduled

pytestmark = pytest.mark.stack  # it works for seconds

BEGIN, END = "2025-03-15T00:00", "2025-04-14T23:00"
SEED, MOST_LOOKS = 7, 12
POLICIES: dict[str, dict[str, Any]] = {
    "all": {"cronExpression": "30 2 * * *", "timezone": "Europe/Berlin"},
    "latest": {"cronExpression": "0 9 * * *", "timezone": "America/New_York"},
    "none": {"cronExpression": "15 4 * * *", "timezone": "UTC"},
}


def test_each_due_fire_of_a_month_comes_to_one_end(tmp_path: Path, postgres_url: str) -> None:
    """It has one run, or one skipped tick; which of them, the policy says, and when the scheduler was at work."""
    (tmp_path / "pipelines").mkdir()
    for policy, schedule in POLICIES.items():
        one = {"id": f"sch_{policy}", "catchUp": policy, "overlap": "allow", **schedule}
        (tmp_path / "pipelines" / f"{policy}.json").write_text(json.dumps(scheduled(policy, one)))
    at_work = killed_again_and_again(tmp_path, postgres_url=postgres_url)
    assert len(at_work) > 6
    with opened_scheduler(tmp_path, postgres_url=postgres_url) as scheduler:
        runs = [(run.tags["planasonix/schedule_id"], run.tags["planasonix/scheduled_at"]) for run in scheduler.runs()]
        skipped = {
            (tick.instigator_name, format_moment(datetime.fromtimestamp(tick.timestamp, UTC)))
            for tick in scheduler.ticks()
            if tick.status == TickStatus.SKIPPED
        }
    assert [fire for fire, number in Counter(runs).items() if number > 1] == []
    assert set(runs) & skipped == set()
    for policy, schedule in POLICIES.items():
        rhythm = Rhythm(cron=schedule["cronExpression"], timezone=schedule["timezone"])
        due = list(rhythm.fires(after=at_work[0][0], until=at_work[-1][1]))
        started = {fire for fire in due if (f"sch_{policy}", format_moment(fire)) in runs}
        left_out = {fire for fire in due if (f"sch_{policy}", format_moment(fire)) in skipped}
        assert [fire for fire in due if fire not in started | left_out] == [], policy
        assert len([fire for fire in runs if fire[0] == f"sch_{policy}"]) == len(started)
        for fire in left_out:
            assert may_be_left_out(fire, due, policy=policy, at_work=at_work), (policy, fire)


def killed_again_and_again(folder: Path, *, postgres_url: str) -> list[tuple[datetime, datetime]]:
    """When the schedulers were at work: each from its first look to the last that it may have got to."""
    command = [sys.executable, "-m", "tests.dagster_defs.killing", str(folder), str(SEED), str(MOST_LOOKS), BEGIN, END]
    environment = {**os.environ, "PLANASONIX_POSTGRES_URL": postgres_url}
    played = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert played.returncode == 0, played.stderr
    return [(datetime.fromisoformat(first), datetime.fromisoformat(last)) for first, last in json.loads(played.stdout)]


def may_be_left_out(
    fire: datetime, due: list[datetime], *, policy: str, at_work: list[tuple[datetime, datetime]]
) -> bool:
    """Tell whether nobody may have seen a fire in time: it came while no scheduler was at work, or one was killed."""
    seen = first_whole_look(fire, at_work=at_work)
    if policy == "none":
        return seen - fire > GRACE
    return policy == "latest" and any(fire < other <= seen for other in due)


def first_whole_look(fire: datetime, *, at_work: list[tuple[datetime, datetime]]) -> datetime:
    """When a scheduler looked for the first time since a fire, and was not killed in doing so."""
    for first, last in at_work:
        look = max(first, fire + timedelta(seconds=1))
        if look < last or (first, last) == at_work[-1]:
            return look
    raise AssertionError("the last one has come to its end")
