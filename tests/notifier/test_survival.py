"""What was to be told is told, whatever becomes of the notifier: nothing is lost, and nobody is flooded."""

import signal
from collections import Counter

import psycopg2
import pytest

from planasonix_orchestrator.contract.webhooks import NOTIFIER_CONNECTION
from tests.conftest import superuser
from tests.notifier.receiver import Reply
from tests.notifier.world import World, api_id

pytestmark = pytest.mark.stack


def test_the_first_start_begins_with_what_happens_then(world: World) -> None:
    """A new endpoint is told nothing of runs that have ended before, nor is one that joins others later."""
    world.happen(world.create(), "START", "SUCCESS")
    world.configure(first={})
    new = world.create()
    world.happen(new, "START")
    world.wait(lambda: len(world.receiver.got("first")) == 1)
    world.configure(first={}, second={})
    world.happen(new, "SUCCESS")
    world.wait(lambda: len(world.receiver.got("first")) == 2 and len(world.receiver.got("second")) == 1)
    assert world.receiver.told("first") == [("run.started", api_id(new)), ("run.succeeded", api_id(new))]
    assert world.receiver.told("second") == [("run.succeeded", api_id(new))]


def test_a_notifier_that_is_killed_loses_nothing(world: World) -> None:
    """Killed again and again amid its work, it tells each event, each run's in order, few of them twice."""
    world.configure(steady={})
    runs = [world.create() for _ in range(30)]
    for number, run in enumerate(runs):
        world.happen(run, "START")
        if number % 8 == 3:
            world.kill()
        world.happen(run, "SUCCESS")
        if number % 8 == 5:
            world.start()
    world.wait(lambda: len({each.id for each in world.receiver.got("steady")}) == 60)
    world.wait(lambda: {state for state, _, _ in world.deliveries("steady")} == {"delivered"})
    told = world.receiver.told("steady")
    for run in map(api_id, runs):
        of_run = list(dict.fromkeys(type_ for type_, id_ in told if id_ == run))
        assert of_run == ["run.started", "run.succeeded"]
    again = sum(number - 1 for number in Counter(each.id for each in world.receiver.got("steady")).values())
    assert again <= 4 * 4  # those that were being sent when it was killed, four at most each time


def test_what_happens_while_no_notifier_works_is_told_afterwards(world: World) -> None:
    """The next one goes on where the last one was."""
    world.configure(patient={"events": ["run.failed"]})
    world.kill()
    run = world.create()
    world.happen(run, "START", "FAILURE")
    world.start()
    world.wait(lambda: world.receiver.told("patient") == [("run.failed", api_id(run))])


def test_a_delivery_is_dead_after_its_last_attempt(world: World) -> None:
    """With two delays there are three attempts; then the run's next message has its turn."""
    world.configure(hopeless={})
    world.kill()
    world.start(delays=(0.05, 0.05))
    world.receiver.answer("hopeless", lambda got: Reply(status=503 if got.type == "run.started" else 204))
    run = world.create()
    world.happen(run, "START", "SUCCESS")
    world.wait(lambda: ("run.succeeded", api_id(run)) in world.receiver.told("hopeless"))
    world.wait(lambda: world.deliveries("hopeless")[1][:2] == ("delivered", 1))
    assert world.deliveries("hopeless")[0] == ("dead", 3, "given up after 3 attempts; the last one: answered 503")
    assert [type_ for type_, _ in world.receiver.told("hopeless")] == ["run.started"] * 3 + ["run.succeeded"]
    world.kill()
    world.start()


def test_an_endpoint_that_leaves_the_file_loses_what_was_not_sent(world: World) -> None:
    """After some seconds: before, as while a file is being replaced, it is told as ever."""
    world.configure(leaving={"events": ["run.started"]}, staying={"events": ["run.started"]})
    world.receiver.answer("leaving", lambda _: Reply(status=500))
    world.happen(world.create(), "START")
    world.wait(lambda: len(world.receiver.got("leaving")) >= 1)
    world.configure(staying={"events": ["run.started"]})
    world.wait(lambda: world.deliveries("leaving")[0][0] == "dead")
    assert world.deliveries("leaving")[0][2] == "the endpoint is no longer in webhooks.yaml"


def test_a_broken_file_changes_nothing(world: World) -> None:
    """What is known of the endpoints holds until the file can be read again, for the next notifier too."""
    world.configure(robust={"events": ["run.started"]})
    (world.pipelines / "webhooks.yaml").write_text("endpoints: {robust: {url: 7}, other: [")
    world.kill()
    world.start()
    run = world.create()
    world.happen(run, "START")
    world.wait(lambda: world.receiver.told("robust") == [("run.started", api_id(run))])


def test_only_one_notifier_works(world: World) -> None:
    """A second one waits for the first to go, so that nothing is sent by both."""
    world.configure(single={})
    first = world.process
    assert first is not None
    world.start()
    second = world.process
    assert second is not None
    name = (NOTIFIER_CONNECTION,)
    connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"
    world.wait(lambda: world.rows(connections, name) == [(2,)])
    for _ in range(5):
        world.happen(world.create(), "START")
    world.wait(lambda: [state for state, _, _ in world.deliveries("single")] == ["delivered"] * 5)
    assert len(world.receiver.got("single")) == 5
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=20) == 0
    run = world.create()
    world.happen(run, "START")
    world.wait(lambda: ("run.started", api_id(run)) in world.receiver.told("single"))
    assert len(world.receiver.got("single")) == 6


def test_an_event_that_becomes_visible_late_is_told(world: World) -> None:
    """Its id was drawn first, its transaction ended last; those after it are told without waiting for it."""
    world.configure(late={"events": ["run.started"]})
    first, second = world.create(), world.create()
    insert = """INSERT INTO event_logs (run_id, event, timestamp, dagster_event_type)
        VALUES (%s, '{}', now() AT TIME ZONE 'UTC', 'PIPELINE_START')"""
    connection = psycopg2.connect(world.url)
    with connection.cursor() as cursor:
        cursor.execute(insert, [first])
        world.happen(second, "START")
        world.wait(lambda: world.receiver.told("late") == [("run.started", api_id(second))])
        connection.commit()
    connection.close()
    world.wait(lambda: ("run.started", api_id(first)) in world.receiver.told("late"))
    assert len(world.receiver.got("late")) == 2


def test_a_database_that_restarts_its_connections_is_found_again(world: World) -> None:
    """Its connection was ended by the server: it makes a new one and goes on."""
    world.configure(again={"events": ["run.started"]})
    with superuser(world.url) as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [NOTIFIER_CONNECTION]
        )
    run = world.create()
    world.happen(run, "START")
    world.wait(lambda: world.receiver.told("again") == [("run.started", api_id(run))])
