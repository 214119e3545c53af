"""Endpoints are told what happens to runs: signed, in order, at least once, and never more than they asked for."""

from datetime import UTC, datetime, timedelta
from threading import Event, Semaphore
from typing import Any

import pytest

from tests.notifier.receiver import SECRET, Received, Reply
from tests.notifier.world import TOKEN, World, api_id, stamp

pytestmark = pytest.mark.stack


def test_a_run_is_told_from_its_start_to_its_end(world: World) -> None:
    """Signed messages in the order of what happened, with the run as the API tells it."""
    world.configure(all={})
    run_id = world.create(
        planasonix__trigger="schedule", planasonix__schedule_id="sch_a", planasonix__environment_id="prod"
    )
    world.happen(run_id, "START", "SUCCESS")
    world.wait(lambda: len(world.receiver.got("all")) == 2)
    started, succeeded = world.receiver.got("all")
    assert [started.verified, succeeded.verified] == [True, True]
    assert started.headers["Content-Type"] == "application/json"
    assert (started.type, started.message["data"]["status"]) == ("run.started", "running")
    assert started.message["data"]["finishedAt"] is None
    told = succeeded.message
    assert told.keys() == {"type", "timestamp", "data"}
    data = told["data"]
    assert (told["type"], told["timestamp"]) == ("run.succeeded", data["finishedAt"])
    assert data.pop("startedAt") <= data.pop("finishedAt")
    assert data.pop("durationSeconds") >= 0
    assert data == {
        "id": api_id(run_id),
        "pipelineId": "pl_a",
        "pipelineName": "orders",
        "environmentId": "prod",
        "status": "succeeded",
        "trigger": {"type": "schedule", "scheduleId": "sch_a"},
        "deadline": None,
        "error": None,
    }


def test_an_endpoint_gets_what_it_asks_for(world: World) -> None:
    """Only the events and the pipelines that it names."""
    world.configure(few={"events": ["run.failed", "run.canceled"]}, other={"pipelines": ["pl_b"]})
    for end in ("SUCCESS", "FAILURE", "CANCELED"):
        world.happen(world.create(), "START", end)
    other = world.create(planasonix__pipeline_id="pl_b")
    world.happen(other, "START")
    world.wait(lambda: world.receiver.told("other") == [("run.started", api_id(other))])
    world.wait(lambda: len(world.receiver.got("few")) == 2)
    failed, canceled = sorted(world.receiver.got("few"), key=lambda each: each.type, reverse=True)
    assert (failed.type, canceled.type) == ("run.failed", "run.canceled")
    assert failed.message["data"]["error"] == {"message": "it is FAILURE", "code": "run_error", "nodeId": None}


def test_what_fails_is_tried_again_and_holds_up_its_run_only(world: World) -> None:
    """The same message with the same id until it is accepted; the run's next one waits, those of others don't."""
    world.configure(flaky={})
    first, second = world.create(), world.create()

    def refuse_first(received: Received) -> Reply:
        so_far = len([each for each in world.receiver.got("flaky") if each.run_id == api_id(first)])
        refused = received.run_id == api_id(first) and so_far <= 3
        return Reply(status=500, body=b"out of order") if refused else Reply()

    world.receiver.answer("flaky", refuse_first)
    world.happen(first, "START", "SUCCESS")
    world.happen(second, "START", "SUCCESS")
    world.wait(lambda: world.deliveries("flaky") == [("delivered", 4, None)] + [("delivered", 1, None)] * 3)
    of_first = [each for each in world.receiver.got("flaky") if each.run_id == api_id(first)]
    assert [each.type for each in of_first] == ["run.started"] * 4 + ["run.succeeded"]
    assert len({each.id for each in of_first}) == 2
    assert {each.verified for each in of_first} == {True}
    assert [type_ for type_, run in world.receiver.told("flaky") if run == api_id(second)] == [
        "run.started",
        "run.succeeded",
    ]
    attempts = world.rows(
        """SELECT attempt.number, status_code, error, answer, duration_seconds > 0
        FROM planasonix.webhook_attempts AS attempt JOIN planasonix.webhook_deliveries AS told
        ON told.number = attempt.delivery WHERE told.id = %s ORDER BY 1""",
        [of_first[0].id],
    )
    assert attempts == [
        *((number, 500, "answered 500", "out of order", True) for number in (1, 2, 3)),
        (4, 204, None, None, True),
    ]


def test_retry_after_is_heeded(world: World) -> None:
    """Who asks for two seconds is left alone for two seconds, though the next attempt would come sooner."""
    world.configure(busy={"events": ["run.started"]})
    world.receiver.answer(
        "busy",
        lambda _: Reply(status=429, headers={"Retry-After": "2"}) if len(world.receiver.got("busy")) == 1 else Reply(),
    )
    world.happen(world.create(), "START")
    world.wait(lambda: len(world.receiver.got("busy")) == 2)
    first, second = world.receiver.got("busy")
    assert second.at - first.at >= 2


def test_redirects_are_not_followed(world: World) -> None:
    """What is sent somewhere else counts as failed, and nobody else gets it."""
    world.configure(moved={"events": ["run.started"]})
    elsewhere = world.receiver.url("elsewhere")
    world.receiver.answer("moved", lambda _: Reply(status=307, headers={"Location": elsewhere}))
    world.happen(world.create(), "START")
    world.wait(lambda: len(world.receiver.got("moved")) >= 2)
    ((error,), *_) = world.rows(
        """SELECT error FROM planasonix.webhook_attempts JOIN planasonix.webhook_deliveries AS told
        ON told.number = delivery WHERE endpoint_id = 'moved'"""
    )
    assert error == "answered 307: redirects are not followed"
    assert world.receiver.got("elsewhere") == []


def test_an_endpoint_that_is_gone_is_told_nothing_more(world: World) -> None:
    """After 410 its deliveries are dead and no new ones are made, until its definition is changed."""
    world.configure(gone={"events": ["run.started"]}, there={"events": ["run.started"]})
    world.receiver.answer("gone", lambda _: Reply(status=410))
    world.happen(world.create(), "START")
    world.wait(lambda: [state for state, _, _ in world.deliveries("gone")] == ["dead"])
    assert "410" in world.deliveries("gone")[0][2]
    later = world.create()
    world.happen(later, "START")
    world.wait(lambda: ("run.started", api_id(later)) in world.receiver.told("there"))
    assert len(world.deliveries("gone")) == 1
    world.receiver.answer("gone", lambda _: Reply())
    world.configure(gone={"events": ["run.started", "run.failed"]})
    world.wait(
        lambda: world.rows("SELECT disabled_at FROM planasonix.webhook_endpoints WHERE id = 'gone'") == [(None,)]
    )
    again = world.create()
    world.happen(again, "START")
    world.wait(lambda: ("run.started", api_id(again)) in world.receiver.told("gone"))


def test_a_slow_endpoint_holds_up_no_other(world: World) -> None:
    """While it answers nothing, the other gets all of its own; four at most are on their way to it at a time."""
    world.configure(slow={"events": ["run.started"]}, quick={"events": ["run.started"]})
    gate, waiting, most = Event(), Semaphore(4), []

    def dawdle(_: Received) -> Reply:
        most.append(waiting.acquire(blocking=False))
        gate.wait(9)  # less than what is a timeout
        waiting.release()
        return Reply()

    world.receiver.answer("slow", dawdle)
    for _ in range(20):
        world.happen(world.create(), "START")
    world.wait(lambda: len(world.receiver.got("quick")) == 20)
    gate.set()
    world.wait(lambda: [state for state, _, _ in world.deliveries("slow")] == ["delivered"] * 20)
    assert all(most)


def test_a_run_that_is_late_is_told_once_while_it_goes_on(world: World) -> None:
    """Past its deadline, queued or running; not before, not after its end, and not a retry that took the tag over."""
    world.configure(late={"events": ["run.late", "run.succeeded"]})
    now = datetime.now(UTC)
    passed, soon = stamp(now - timedelta(seconds=1)), stamp(now + timedelta(seconds=2))
    ended = world.create(planasonix__deadline=stamp(now + timedelta(seconds=2)))
    world.happen(ended, "START", "SUCCESS")
    queued = world.create(planasonix__deadline=passed, planasonix__schedule_id="sch_a", planasonix__trigger="schedule")
    running = world.create(planasonix__deadline=soon)
    world.happen(running, "START")
    world.create(planasonix__deadline=passed, dagster__parent_run_id=running)
    world.create(planasonix__deadline="tomorrow")
    world.wait(
        lambda: (
            {run for type_, run in world.receiver.told("late") if type_ == "run.late"}
            == {api_id(queued), api_id(running)}
        )
    )
    world.happen(running, "SUCCESS")
    world.wait(lambda: ("run.succeeded", api_id(running)) in world.receiver.told("late"))
    told = [each for each in world.receiver.got("late") if each.type == "run.late"]
    by_run: dict[str, Any] = {each.run_id: each.message["data"] for each in told}
    assert len(told) == 2
    assert (by_run[api_id(queued)]["status"], by_run[api_id(running)]["status"]) == ("queued", "running")
    assert by_run[api_id(queued)]["trigger"] == {"type": "schedule", "scheduleId": "sch_a"}
    assert by_run[api_id(running)]["deadline"] is not None
    assert by_run[api_id(running)]["finishedAt"] is None
    world.happen(queued, "CANCELED")


def test_no_secret_is_written_down(world: World) -> None:
    """Neither the key nor a secret header stands in a table or in the log, though the endpoint echoes them."""
    world.configure(
        echo={"events": ["run.started"], "headers": {"Authorization": {"env": "HOOK_BEARER"}, "X-Team": "sales"}},
        unset={"events": ["run.started"], "headers": {"Authorization": {"env": "NOWHERE"}}},
    )
    world.kill()
    world.start(HOOK_BEARER=f"Bearer {TOKEN}")
    echo = f"you sent {TOKEN}, your key is {SECRET}".encode()
    world.receiver.answer("echo", lambda got: Reply(status=400, body=got.headers["Authorization"].encode() + echo))
    world.happen(world.create(), "START")
    world.wait(lambda: len(world.receiver.got("echo")) >= 2)
    sent = world.receiver.got("echo")[0].headers
    assert (sent["Authorization"], sent["X-Team"]) == (f"Bearer {TOKEN}", "sales")
    world.wait(lambda: "your key is" in str(world.rows("SELECT answer FROM planasonix.webhook_attempts")))
    written = str(
        [world.rows(f"SELECT * FROM planasonix.webhook_{name}") for name in ("deliveries", "attempts", "endpoints")]
    )
    for text in (written, world.log.read_text()):
        assert TOKEN not in text
        assert SECRET.removeprefix("whsec_") not in text
    assert "which is not set" in written
    assert [attempts for _, attempts, _ in world.deliveries("unset")] == [0]
    world.configure(quick={})
