"""Schedules as Dagster schedules: what a fire starts, with the scheduler at work, late, or put on and off."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from dagster import DefaultScheduleStatus, build_schedule_context
from dagster._core.scheduler.instigation import TickStatus
from sqlalchemy import text

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.conftest import database
from tests.dagster_defs.pipelines import document, node
from tests.dagster_defs.scheduling import Scheduler, moment, opened_scheduler, scheduled
from tests.dagster_defs.test_repository import repository_of

HOURLY = {"id": "sch_hourly", "cronExpression": "0 * * * *"}
MISSED = ["2025-01-01T02:00:00Z", "2025-01-01T03:00:00Z", "2025-01-01T04:00:00Z", "2025-01-01T05:00:00Z"]


@pytest.fixture(scope="module")
def _scheduler(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, dagster_tables: str
) -> Iterator[Scheduler]:
    """The scheduler of all tests."""
    with (
        database(postgres_server, like=dagster_tables) as url,
        opened_scheduler(tmp_path_factory.mktemp("scheduler"), postgres_url=url) as scheduler,
    ):
        yield scheduler


@pytest.fixture
def scheduler(_scheduler: Scheduler) -> Iterator[Scheduler]:
    yield _scheduler
    _scheduler.forget()


def begin(scheduler: Scheduler, *, at: str = "2025-01-01T01:30", **more: Any) -> None:
    """Have the scheduler know an hourly schedule since half past one, and then forget what it had in mind."""
    scheduler.write(scheduled("a", {**HOURLY, **more}))
    scheduler.look(moment(at))
    scheduler.restart()


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [
        ({}, "active", DefaultScheduleStatus.RUNNING),
        ({"enabled": False}, "active", DefaultScheduleStatus.STOPPED),
        ({}, "draft", DefaultScheduleStatus.STOPPED),
        ({}, "archived", DefaultScheduleStatus.STOPPED),
    ],
)
def test_a_schedule_is_one_of_dagsters(
    tmp_path: Path, said: dict[str, Any], status: str, expected: DefaultScheduleStatus
) -> None:
    """Named after its id, on the pipeline's job; on if the document says so and the pipeline is active."""
    schedule = {"id": "sch_a-b", "cronExpression": "0 2 * * *", "timezone": "Europe/Berlin", "name": "Nightly", **said}
    pipeline = document([node("a", "source.numbers")], schedules=[schedule], status=status)
    (tmp_path / "a.json").write_text(json.dumps(pipeline))
    (found,) = repository_of(tmp_path).schedule_defs
    assert (found.name, found.job_name) == ("sch_a_x2d_b", "numbers")
    assert (found.cron_schedule, found.execution_timezone) == ("0 2 * * *", "Europe/Berlin")
    assert found.default_status == expected
    assert (found.description or "").startswith("Nightly: 0 2 * * * in Europe/Berlin")


def test_trying_a_schedule_is_no_fire(tmp_path: Path) -> None:
    """Dagster's UI shows what it would start, at any time, and needs no record for it."""
    schedule = {"id": "sch_a", "cronExpression": "0 2 * * *", "variables": {"day": "{{ ds }}"}}
    pipeline = document([node("a", "source.numbers")], schedules=[schedule], variables={"day": {"type": "date"}})
    (tmp_path / "a.json").write_text(json.dumps(pipeline))
    (found,) = repository_of(tmp_path).schedule_defs
    with build_schedule_context(scheduled_execution_time=moment("2025-03-01T02:00")) as context:
        data = found.evaluate_tick(context)
    (request,) = data.run_requests or ()
    resources: Any = request.run_config["resources"]
    assert resources["variables"]["config"] == {"day": "2025-03-01"}


def test_a_fire_starts_a_run_that_says_what_it_is_for(scheduler: Scheduler) -> None:
    """Its trigger, its schedule, its slice, its deadline; what the schedule sets stands in its config."""
    schedule = {
        "id": "sch_daily",
        "cronExpression": "30 0 * * *",
        "timezone": "Europe/Berlin",
        "deadlineSeconds": 600,
        "variables": {"day": "{{ ds }}", "path": "in/{{ previous_scheduled_at }}", "n": 5},
    }
    declared = {"day": {"type": "date"}, "path": {}, "n": {"type": "integer"}, "other": {"default": "x"}}
    scheduler.write(scheduled("a", schedule, variables=declared))
    scheduler.look(moment("2025-03-29T12:00"))
    scheduler.look(moment("2025-03-29T23:30:01"))
    scheduler.look(moment("2025-03-29T23:31"))
    (run,) = scheduler.runs()
    ours = {key: value for key, value in run.tags.items() if key.startswith("planasonix/")}
    assert len(ours.pop(tags.PIPELINE_VERSION)) == 16
    assert ours == {
        tags.PIPELINE_ID: "pl_a",
        tags.TRIGGER: "schedule",
        tags.SCHEDULE_ID: "sch_daily",
        tags.SCHEDULED_AT: "2025-03-29T23:30:00Z",
        tags.PREVIOUS_SCHEDULED_AT: "2025-03-28T23:30:00Z",
        tags.NEXT_SCHEDULED_AT: "2025-03-30T22:30:00Z",
        tags.DS: "2025-03-30",
        tags.DEADLINE: "2025-03-29T23:40:00Z",
        tags.LIMITED_BY: "sch_daily 1",
    }
    variables = {"day": "2025-03-30", "path": "in/2025-03-28T23:30:00Z", "n": 5, "other": "x"}
    resources: Any = run.run_config["resources"]
    assert resources["variables"]["config"] == variables
    assert run.status.value == "QUEUED"


@pytest.mark.parametrize(
    ("said", "started", "reason"),
    [
        ({"catchUp": "none"}, MISSED[-1:], "more than 5 minutes late"),
        ({}, MISSED[-1:], "a newer one, which stands for all of them"),
        ({"catchUp": "all"}, MISSED, ""),
        ({"catchUp": "all", "catchUpLimit": 3}, MISSED[1:], "the newest 3"),
        ({"catchUp": "all", "overlap": "skip"}, MISSED[-1:], "one run at a time"),
    ],
)
def test_missed_fires_are_made_up_for_as_the_schedule_says(
    scheduler: Scheduler, said: dict[str, Any], started: list[str], reason: str
) -> None:
    """The oldest first; each that is left out is a skipped tick with its reason."""
    begin(scheduler, **said)
    scheduler.look(moment("2025-01-01T05:00:30"))
    assert scheduler.started() == started
    skipped = scheduler.skipped()
    assert sorted(skipped) == [fire for fire in MISSED if fire not in started]
    assert all(reason in each for each in skipped.values())
    scheduler.restart()
    scheduler.look(moment("2025-01-01T05:59:59"))
    assert scheduler.started() == started


def test_a_fire_that_is_seen_late_is_skipped_without_catch_up(scheduler: Scheduler) -> None:
    """Its own tick says so."""
    begin(scheduler, catchUp="none")
    scheduler.look(moment("2025-01-01T02:05:01"))
    assert (scheduler.started(), list(scheduler.skipped())) == ([], MISSED[:1])


def test_very_many_missed_fires_are_not_told_one_by_one(scheduler: Scheduler) -> None:
    """The oldest that is told stands for those before it."""
    begin(scheduler, at="2025-01-01T01:30:30", cronExpression="* * * * *", catchUp="all", catchUpLimit=2)
    scheduler.look(moment("2025-01-01T06:30"))
    assert scheduler.started() == ["2025-01-01T06:29:00Z", "2025-01-01T06:30:00Z"]
    skipped = scheduler.skipped()
    assert len(skipped) == 100
    assert min(skipped) == "2025-01-01T04:49:00Z"
    assert [fire for fire in skipped if skipped[fire].endswith("; and so was every fire before it")] == [min(skipped)]


def test_fires_while_a_schedule_was_off_are_not_made_up_for(scheduler: Scheduler) -> None:
    """They were not due, whatever the policy."""
    begin(scheduler, catchUp="all")
    scheduler.switch("sch_hourly", on=False, at=moment("2025-01-01T02:30"))
    scheduler.look(moment("2025-01-01T03:30"))
    scheduler.switch("sch_hourly", on=True, at=moment("2025-01-01T04:30"))
    scheduler.restart()
    scheduler.look(moment("2025-01-01T06:10"))
    assert scheduler.started() == ["2025-01-01T05:00:00Z", "2025-01-01T06:00:00Z"]
    assert scheduler.skipped() == {}


def test_a_pipeline_that_is_not_active_starts_nothing(scheduler: Scheduler) -> None:
    """Also if its schedule was put on by hand: its fires are skipped, and not made up for later."""
    begin(scheduler, catchUp="all")
    scheduler.switch("sch_hourly", on=True, at=moment("2025-01-01T01:30"))
    scheduler.switch("sch_hourly", on=False, at=moment("2025-01-01T01:31"))
    scheduler.switch("sch_hourly", on=True, at=moment("2025-01-01T01:32"))
    scheduler.write(scheduled("a", {**HOURLY, "catchUp": "all"}, status="archived"))
    scheduler.look(moment("2025-01-01T03:00:01"))
    assert scheduler.started() == []
    assert list(scheduler.skipped()) == MISSED[:2]
    assert {reason[:25] for reason in scheduler.skipped().values()} == {"the pipeline is archived:"}
    scheduler.write(scheduled("a", {**HOURLY, "catchUp": "all"}))
    scheduler.look(moment("2025-01-01T04:00:01"))
    assert scheduler.started() == MISSED[2:3]


def test_a_run_in_flight_lets_a_fire_skip(scheduler: Scheduler) -> None:
    """The reason names the run; once that has ended, the next fire starts one."""
    begin(scheduler, overlap="skip")
    scheduler.look(moment("2025-01-01T02:00:01"))
    (run,) = scheduler.runs()
    assert tags.LIMITED_BY not in run.tags
    scheduler.look(moment("2025-01-01T03:00:01"))
    reason = f"run {encode_run_id(run.run_id)} of this schedule has not ended (overlap: skip)"
    assert scheduler.skipped() == {MISSED[1]: reason}
    scheduler.instance.report_run_canceled(run)
    scheduler.look(moment("2025-01-01T04:00:01"))
    assert scheduler.started() == [MISSED[0], MISSED[2]]


def test_runs_may_overlap(scheduler: Scheduler) -> None:
    """With `allow` a fire starts its run whatever goes on."""
    begin(scheduler, overlap="allow")
    for hour in (2, 3):
        scheduler.look(moment(f"2025-01-01T0{hour}:00:01"))
    assert scheduler.started() == MISSED[:2]
    assert all(tags.LIMITED_BY not in run.tags for run in scheduler.runs())


UNSET = {"day": {"type": "date"}}


def fail(scheduler: Scheduler, at: str) -> None:
    """Look at a moment at which a fire is due whose run can't start."""
    with pytest.raises(AssertionError, match="variable 'day': must be set"):
        scheduler.look(moment(at))


def test_a_fire_whose_run_can_not_start_fails(scheduler: Scheduler) -> None:
    """The tick names the variable, and is tried again as often as dagster.yaml says; then the next ones come."""
    scheduler.write(scheduled("a", {**HOURLY, "catchUp": "all"}, variables=UNSET))
    scheduler.look(moment("2025-01-01T01:30"))
    for minute in ("00:01", "01:01"):
        fail(scheduler, f"2025-01-01T02:{minute}")
    scheduler.look(moment("2025-01-01T02:02:01"))
    scheduler.write(scheduled("a", {**HOURLY, "catchUp": "all"}))
    scheduler.restart()
    scheduler.look(moment("2025-01-01T03:00:01"))
    assert scheduler.started() == MISSED[1:2]
    assert [tick.status for tick in scheduler.ticks()] == [TickStatus.FAILURE, TickStatus.SUCCESS]


def test_a_fire_that_has_failed_may_succeed_later(scheduler: Scheduler) -> None:
    """When it is tried again, or when the next one is due and it was not."""
    for again, started in (("2025-01-01T02:01:01", MISSED[:1]), ("2025-01-01T03:00:01", MISSED[:2])):
        scheduler.write(scheduled("a", {**HOURLY, "catchUp": "all"}, variables=UNSET))
        scheduler.look(moment("2025-01-01T01:30"))
        fail(scheduler, "2025-01-01T02:00:01")
        scheduler.write(scheduled("a", {**HOURLY, "catchUp": "all"}))
        scheduler.look(moment(again))
        assert scheduler.started() == started
        scheduler.forget()


def interrupt(scheduler: Scheduler, statement: str = "SELECT 1") -> None:
    """Put the last tick back to where it had begun, as one whose scheduler was killed, and change the record."""
    tick = scheduler.ticks()[-1]
    data = tick.tick_data._replace(status=TickStatus.STARTED, run_ids=[], run_keys=[], end_timestamp=None)
    scheduler.instance.update_tick(tick._replace(tick_data=data))
    storage: Any = scheduler.instance.run_storage
    with storage.connect() as connection:
        connection.execute(text(statement))
    scheduler.restart()


@pytest.mark.parametrize("overlap", ["allow", "skip"])
def test_an_interrupted_fire_is_taken_up_again(scheduler: Scheduler, overlap: str) -> None:
    """Its run exists: it gets no second one, though the policy would not start one any more."""
    begin(scheduler, catchUp="none", overlap=overlap)
    scheduler.look(moment("2025-01-01T02:00:01"))
    interrupt(scheduler)
    scheduler.look(moment("2025-01-01T02:30"))
    (run,) = scheduler.runs()
    (tick,) = scheduler.ticks()
    assert (tick.status, list(tick.run_ids)) == (TickStatus.SUCCESS, [run.run_id])


def test_a_run_that_was_made_without_its_tags_is_found(scheduler: Scheduler) -> None:
    """Dagster writes these after the run, and finds the run by them: without help it would start a second one."""
    begin(scheduler)
    scheduler.look(moment("2025-01-01T02:00:01"))
    (before,) = scheduler.runs()
    interrupt(scheduler, "DELETE FROM run_tags")
    scheduler.look(moment("2025-01-01T02:30"))
    (run,) = scheduler.runs()
    assert run.run_id == before.run_id
    assert scheduler.instance.get_run_tags([tags.SCHEDULED_AT]) == [(tags.SCHEDULED_AT, {MISSED[0]})]


def test_runs_that_others_have_just_made_are_left_alone(scheduler: Scheduler) -> None:
    """Their makers are about to write the tags: they would stand there twice."""
    begin(scheduler, overlap="allow")
    scheduler.look(moment("2025-01-01T02:00:01"))
    (run,) = scheduler.runs()
    others = {key: value for key, value in run.tags.items() if key != "dagster/schedule_name"}
    made = scheduler.instance.run_storage.add_run(run._replace(run_id=str(uuid4()), tags=others))
    storage: Any = scheduler.instance.run_storage
    with storage.connect() as connection:
        connection.execute(text("DELETE FROM run_tags WHERE run_id = :run_id"), {"run_id": made.run_id})
    scheduler.look(moment("2025-01-01T03:00:01"))
    with storage.connect() as connection:
        left = connection.execute(text("SELECT count(*) FROM run_tags WHERE run_id = :run_id"), {"run_id": made.run_id})
        assert left.scalar() == 0


@pytest.mark.parametrize("catch_up", ["latest", "all"])
def test_an_interrupted_fire_is_not_lost_when_newer_ones_are_due(scheduler: Scheduler, catch_up: str) -> None:
    """Dagster itself would never come back to it. What it had started counts, and stands in a tick."""
    begin(scheduler, catchUp=catch_up, overlap="allow")
    scheduler.look(moment("2025-01-01T02:00:01"))
    interrupt(scheduler)
    scheduler.look(moment("2025-01-01T04:00:01"))
    assert scheduler.started() == ([*MISSED[:3]] if catch_up == "all" else [MISSED[0], MISSED[2]])
    first, *others = scheduler.ticks()
    assert (first.status, list(first.run_ids)) == (TickStatus.SUCCESS, [scheduler.runs()[0].run_id])
    skipped = {TickStatus.SKIPPED} if catch_up == "latest" else set()
    assert {tick.status for tick in others} == {TickStatus.SUCCESS} | skipped


def change(scheduler: Scheduler, at: str, **more: Any) -> None:
    """Change the schedule's document, as of a moment."""
    scheduler.write(scheduled("a", {**HOURLY, **more}))
    stamp = moment(at).timestamp()
    os.utime(scheduler.folder / "pipelines" / "pl_a.json", (stamp, stamp))
    scheduler.load()


def test_a_changed_rhythm_counts_from_the_change_on(scheduler: Scheduler) -> None:
    """Fires of the new one from before were never due, those of the old one were, also if the daemon was away."""
    begin(scheduler, catchUp="all", cronExpression="30 0 * * *")
    change(scheduler, "2025-01-02T01:40", catchUp="all")
    scheduler.look(moment("2025-01-02T04:10"))
    assert scheduler.started() == ["2025-01-02T00:30:00Z", *(f"2025-01-02T0{hour}:00:00Z" for hour in (2, 3, 4))]
    scheduler.restart()
    change(scheduler, "2025-01-02T04:20", catchUp="all", cronExpression="45 * * * *")
    scheduler.look(moment("2025-01-02T04:46"))
    assert scheduler.started()[4:] == ["2025-01-02T04:45:00Z"]


def test_a_time_that_a_change_has_made_up_was_not_due(scheduler: Scheduler) -> None:
    """Dagster would take the last hour for due when a daily schedule becomes an hourly one; the tick says why not."""
    begin(scheduler, cronExpression="30 0 * * *")
    change(scheduler, "2025-01-01T05:10")
    scheduler.look(moment("2025-01-01T05:20"))
    assert scheduler.started() == []
    reason = "it was not due: the schedule has been changed, and had not fired at this time before"
    assert scheduler.skipped() == {MISSED[3]: reason}
    scheduler.restart()
    scheduler.look(moment("2025-01-01T06:00") + timedelta(seconds=1))
    assert scheduler.started() == ["2025-01-01T06:00:00Z"]


def test_a_change_of_something_else_loses_no_fire(scheduler: Scheduler) -> None:
    """A new name, say, while the daemon is away."""
    begin(scheduler, catchUp="all")
    scheduler.look(moment("2025-01-01T02:00:01"))
    change(scheduler, "2025-01-01T03:30", catchUp="all", name="Hourly")
    scheduler.restart()
    scheduler.look(moment("2025-01-01T04:00:01"))
    assert scheduler.started() == MISSED[:3]
