"""The rules that need no server: waits, horizons, secrets, and how a failure is told."""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from planasonix_orchestrator.graph.webhooks import EndpointDocument
from planasonix_orchestrator.notifier.endpoints import (
    Endpoints,
    FolderEndpoints,
    read_definition,
    ready,
    write_definition,
)
from planasonix_orchestrator.notifier.horizon import Horizon
from planasonix_orchestrator.notifier.retries import (
    DEFAULT_DELAYS,
    DELAYS_VARIABLE,
    RetryPolicy,
    load_policy,
    read_retry_after,
)
from planasonix_orchestrator.notifier.telling import Happening, RunFacts, tell
from planasonix_orchestrator.settings import InvalidSettingError
from tests.notifier.receiver import SECRET

NOW = datetime(2025, 3, 27, 2, tzinfo=UTC)


def test_the_usual_retries_take_about_a_day() -> None:
    """Ten attempts, the last of them a day after the first, give or take some hours; then no more."""
    policy = RetryPolicy()
    waits = [policy.next_wait(tries, asked=None) for tries in range(1, 10)]
    total = sum((wait for wait in waits if wait is not None), timedelta())
    assert timedelta(hours=23) < total < timedelta(hours=30)
    assert policy.next_wait(10, asked=None) is None


def test_a_wait_varies_by_chance_and_is_never_too_short() -> None:
    """Between the delay and a fifth more."""
    policy = RetryPolicy(delays=(100,))
    waits = {policy.next_wait(1, asked=None) for _ in range(50)}
    assert len(waits) > 10
    assert all(wait is not None and timedelta(seconds=100) <= wait <= timedelta(seconds=120) for wait in waits)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        (None, None),
        ("soon", None),
        ("120", timedelta(minutes=2)),
        ("99999999999999", timedelta(hours=24)),
        ("Thu, 27 Mar 2025 02:00:30 GMT", timedelta(seconds=30)),
        ("Thu, 27 Mar 2025 01:00:00 GMT", timedelta()),
    ],
)
def test_retry_after_is_read(text: str | None, wait: timedelta | None) -> None:
    """Seconds or a date, as RFC 9110 has it; a day at most; anything else says nothing."""
    assert read_retry_after(text, now=NOW) == wait


def test_the_longest_of_both_waits_counts() -> None:
    """An endpoint can ask for more patience, up to a day, not for less."""
    policy = RetryPolicy(delays=(60,))
    asked = policy.next_wait(1, asked=timedelta(hours=2))
    assert asked == timedelta(hours=2)
    assert policy.next_wait(1, asked=timedelta(days=9)) == timedelta(hours=24)
    assert (policy.next_wait(1, asked=timedelta(seconds=1)) or timedelta()) >= timedelta(seconds=60)


def test_delays_come_from_the_environment() -> None:
    """As seconds with commas; what is none is refused by name."""
    assert load_policy({}).delays == DEFAULT_DELAYS
    assert load_policy({DELAYS_VARIABLE: "1,2.5"}).delays == (1, 2.5)
    for wrong in ("soon", "1,,2", "-1", "nan", "1e9"):
        with pytest.raises(InvalidSettingError, match=DELAYS_VARIABLE):
            load_policy({DELAYS_VARIABLE: wrong})


def test_a_horizon_moves_past_writers_that_have_ended() -> None:
    """Without writers all is settled; with some, once those of an earlier look are gone, whoever writes by then."""
    horizon = Horizon()
    assert horizon.settle(newest=10, writers=[]) == 10
    assert horizon.settle(newest=20, writers=["a", "b"]) is None
    assert horizon.settle(newest=30, writers=["b", "c"]) is None
    assert horizon.settle(newest=40, writers=["c", "d"]) == 20
    assert horizon.settle(newest=50, writers=["d"]) is None
    assert horizon.settle(newest=60, writers=["e"]) == 40
    assert horizon.settle(newest=70, writers=[]) == 70


def endpoint(**more: object) -> EndpointDocument:
    given = {"url": "https://example.com/hook", "secret": {"env": "KEY"}, **more}
    return EndpointDocument.model_validate(given)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "environment variable KEY, which is not set"),
        ({"KEY": "s3cret"}, "secret must be whsec_"),
        ({"KEY": "whsec_s3cret!"}, "secret must be whsec_"),
        ({"KEY": "whsec_" + b64encode(b"s3cret").decode()}, "24 to 64 bytes"),
    ],
)
def test_a_key_that_is_none_is_a_problem_without_the_key(environment: Mapping[str, str], words: str) -> None:
    """It says what is wrong, and where, not what stands there."""
    found = ready("ops", endpoint(), environment=environment)
    assert found.target is None
    assert words in (found.problem or "")
    assert "s3cret" not in (found.problem or "")


def test_an_address_from_the_environment_is_checked_and_not_told() -> None:
    """What a document may not say, a variable may not say either."""
    document = endpoint(url={"env": "URL"})
    refused = ready("ops", document, environment={"KEY": SECRET, "URL": "http://example.com/s3cret"})
    assert refused.problem == "url must begin with https:// unless it is on the loopback interface"
    taken = ready("ops", document, environment={"KEY": SECRET, "URL": "https://example.com/s3cret"})
    assert taken.target is not None
    assert taken.target.url == "https://example.com/s3cret"
    assert "s3cret" not in repr(taken)
    assert SECRET not in repr(taken)


def test_a_key_that_is_being_replaced_signs_too() -> None:
    """With a previous one, messages carry both signatures."""
    other = "whsec_" + b64encode(b"x" * 32).decode()
    document = endpoint(previousSecret={"env": "OLD"})
    found = ready("ops", document, environment={"KEY": SECRET, "OLD": other})
    assert found.target is not None
    assert len({signer.sign("msg_a", NOW, "{}") for signer in found.target.signers}) == 2


def test_a_definition_is_kept_as_it_was_written() -> None:
    """Written down and read again it is the same; what another version wrote may be none."""
    document = endpoint(events=["run.late"], pipelines=["pl_a"], headers={"X-A": "b", "X-Token": {"env": "T"}})
    assert read_definition(json.loads(json.dumps(write_definition(document)))) == document
    assert read_definition({"url": "https://example.com", "novelty": 1}) is None


def test_a_file_that_is_away_for_a_moment_takes_nothing_away(tmp_path: Path) -> None:
    """An endpoint that is missing is gone after some seconds; without the folder nobody knows."""
    now = 100.0
    folder = FolderEndpoints(tmp_path, environment={"KEY": SECRET}, clock=lambda: now)
    assert not folder.read().readable
    now += 6
    assert folder.read() == Endpoints()
    file = tmp_path / "webhooks.yaml"
    both = {id_: write_definition(endpoint()) for id_ in ("a", "b")}
    file.write_text(json.dumps({"endpoints": both}))
    assert folder.read().by_id.keys() == {"a", "b"}
    assert folder.read() is folder.read()
    file.unlink()
    assert folder.read().by_id.keys() == {"a", "b"}
    now += 2
    file.write_text(json.dumps({"endpoints": {"a": both["a"]}}))
    assert folder.read().by_id.keys() == {"a", "b"}
    now += 2
    assert folder.read().by_id.keys() == {"a", "b"}
    now += 2
    assert folder.read().by_id.keys() == {"a"}
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert folder.read().by_id.keys() == {"a"}
    now += 60
    assert folder.read().by_id.keys() == {"a"}
    assert not folder.read().readable


def failure(entry: object) -> dict[str, object]:
    run = RunFacts(run_id="r", job_name="a_x2d_b", status="FAILURE", created_at=NOW, started_at=NOW, tags={})
    happening = Happening(type="run.failed", key="1", at=NOW, run=run, event_id=1, entry=json.dumps(entry))
    return tell(happening)


def test_a_failure_is_told_as_the_node_said_it() -> None:
    """Message, code and node of the first step that failed; of the run as a whole where none did."""
    error = {"message": "DagsterExecutionStepExecutionError: x", "cls_name": "DagsterExecutionStepExecutionError"}
    cause = {"message": "planasonix.NodeTimeoutFailure: too slow\n", "cls_name": "NodeTimeoutFailure", "cause": None}
    step = {"step_key": "load_x2d_data", "event_specific_data": {"error": {**error, "cause": cause}}}
    told = failure({"dagster_event": {"event_specific_data": {"first_step_failure_event": step}}})
    assert told["error"] == {"message": "too slow", "code": "timeout", "nodeId": "load-data"}
    assert (told["id"], told["pipelineId"], told["pipelineName"]) == ("r", "pl_a_x2d_b", "a-b")
    lost = {"dagster_event": {"message": "The run worker (pid 7) is gone", "event_specific_data": {}}}
    assert failure(lost)["error"] == {
        "message": "The run worker (pid 7) is gone",
        "code": "worker_lost",
        "nodeId": None,
    }
    assert failure({})["error"] == {
        "message": "The run failed without saying why.",
        "code": "run_error",
        "nodeId": None,
    }
    assert "can't be read" in str(failure({"dagster_event": "nonsense"})["error"])
