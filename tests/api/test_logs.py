"""`GET /api/runs/{id}/logs` in pages: a test per sentence of the seed, and what it leaves open."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import psycopg2
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_adapter.logs.schemas import RunLogs
from api_adapter.records import Scope, open_records
from api_adapter.storage import LogFilter, LogHead, LogPosition, Storage
from api_adapter.storage.database import Connection
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api import served
from tests.api.making import execute, make_run
from tests.api.waiting import wait_until
from tests.api.writing import log, write_events


@pytest.fixture(scope="module")
def succeeded(instance: DagsterInstance) -> str:
    return encode_run_id(execute(served.crm_to_warehouse, instance=instance))


@pytest.fixture(scope="module")
def failed(instance: DagsterInstance) -> str:
    return encode_run_id(execute(served.failing, instance=instance))


def test_logs_are_structured_lines(succeeded: str, reader: httpx.Client) -> None:
    """Each line has ts, level, nodeId and message: what nodes logged, and milestones in plain words."""
    answer = reader.get(f"/api/runs/{succeeded}/logs")
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert list(body) == ["runId", "lines", "nextCursor"]
    assert all(list(line) == ["ts", "level", "nodeId", "message"] for line in body["lines"])
    assert RunLogs.model_validate(body).model_dump(by_alias=True, mode="json") == body
    assert [(line["level"], line["nodeId"], line["message"]) for line in body["lines"]] == [
        ("info", None, "Run started"),
        ("info", "n_source", "Node started"),
        ("info", "n_source", "Started read"),
        ("info", "n_source", "Node succeeded"),
        ("info", "keep-recent", "Node started"),
        ("info", "keep-recent", "Node succeeded"),
        ("info", "n_flaky", "Node started"),
        ("warning", "n_flaky", "Node failed and will be tried again: the warehouse hung up"),
        ("info", "n_flaky", "Node started again"),
        ("info", "n_flaky", "Node succeeded"),
        ("info", None, "Run succeeded"),
    ]


def test_node_id_filters_to_a_single_nodes_stream(succeeded: str, reader: httpx.Client) -> None:
    """Filter to a single node's log stream."""
    lines = reader.get(f"/api/runs/{succeeded}/logs", params={"nodeId": "keep-recent"}).json()["lines"]
    assert [(line["nodeId"], line["message"]) for line in lines] == [
        ("keep-recent", "Node started"),
        ("keep-recent", "Node succeeded"),
    ]


@pytest.mark.parametrize("node_id", ["keep_x2d_recent", "n_source[", "n_", "", "é", "*", "n_source' OR true --", "%"])
def test_a_node_that_is_none_has_no_lines(node_id: str, succeeded: str, reader: httpx.Client) -> None:
    """Only the node's own id selects its lines, whatever that looks like to the database."""
    answer = reader.get(f"/api/runs/{succeeded}/logs", params={"nodeId": node_id})
    assert answer.status_code == (400 if node_id == "" else 200)
    assert answer.json().get("lines", []) == []


def test_nodes_of_jobs_that_were_not_compiled_by_us(instance: DagsterInstance, reader: httpx.Client) -> None:
    """Nodes in nested graphs and dynamic steps are found by the ids that lines and nodes give them."""
    nested = encode_run_id(execute(served.nightly, instance=instance))
    path = f"/api/runs/{nested}/logs"
    ids = {line["nodeId"] for line in reader.get(path).json()["lines"]}
    assert {"tidy.clean", "tidy.clean_first"} <= ids
    assert {node["nodeId"] for node in reader.get(f"/api/runs/{nested}/nodes").json()["nodes"]} == ids - {None}
    lines = reader.get(path, params={"nodeId": "tidy.clean"}).json()["lines"]
    assert [line["nodeId"] for line in lines] == ["tidy.clean", "tidy.clean"]

    dynamic = encode_run_id(execute(served.fan_out, instance=instance))
    lines = reader.get(f"/api/runs/{dynamic}/logs", params={"nodeId": "work_on"}).json()["lines"]
    assert [line["message"] for line in lines if line["message"].startswith("part")] == ["part 1", "part 2"]
    assert {line["nodeId"] for line in lines} == {"work_on"}


def test_since_takes_a_timestamp(instance: DagsterInstance, reader: httpx.Client, database_url: str) -> None:
    """ISO timestamp for incremental fetch: what was logged then and later."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    start = datetime(2025, 3, 27, 2, tzinfo=UTC)
    with psycopg2.connect(database_url) as connection:
        for second in range(5):
            log(connection, run_id=run.run_id, message=str(second), at=start + timedelta(seconds=second))
    path = f"/api/runs/{encode_run_id(run.run_id)}/logs"

    def told(since: str) -> str:
        return "".join(line["message"] for line in reader.get(path, params={"since": since}).json()["lines"])

    assert told("2025-03-27T02:00:03Z") == "34"
    assert told("2025-03-27T04:00:03+02:00") == "34"
    assert told("2025-03-27T02:00:02.5Z") == "34"
    assert told("2025-03-27") == told("1970-01-01T00:00:00Z") == "01234"
    assert told("2999-01-01T00:00:00Z") == ""


@pytest.mark.parametrize("limit", [1, 2, 5, 11, 12])
def test_since_takes_a_log_cursor(limit: int, succeeded: str, reader: httpx.Client) -> None:
    """Log cursor for incremental fetch: nothing lost, nothing doubled, null when all is told."""
    path = f"/api/runs/{succeeded}/logs"
    everything = reader.get(path).json()
    assert everything["nextCursor"] is None
    lines: list[object] = []
    since = None
    while True:
        page = reader.get(path, params={"limit": limit, **({"since": since} if since else {})}).json()
        assert 0 < len(page["lines"]) <= limit
        lines += page["lines"]
        since = page["nextCursor"]
        if since is None:
            break
        assert since.startswith(f"crs_{succeeded.removeprefix('run_')}_")
    assert lines == everything["lines"]


@pytest.mark.parametrize("since", ["yesterday", "crs_", "crs_01j8k2m4_0042", "crs_x_12", ""])
def test_a_since_that_is_none_is_refused(since: str, succeeded: str, reader: httpx.Client) -> None:
    """A cursor of another run, or a text that is neither cursor nor timestamp, gives 400."""
    answer = reader.get(f"/api/runs/{succeeded}/logs", params={"since": since})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["field"] == "since"


def test_a_cursor_belongs_to_its_run(succeeded: str, failed: str, reader: httpx.Client) -> None:
    """The cursor of one run is refused by every other."""
    cursor = reader.get(f"/api/runs/{succeeded}/logs", params={"limit": 1}).json()["nextCursor"]
    assert reader.get(f"/api/runs/{succeeded}/logs", params={"since": cursor}).status_code == 200
    assert reader.get(f"/api/runs/{failed}/logs", params={"since": cursor}).status_code == 400


def test_level_is_the_least(succeeded: str, failed: str, reader: httpx.Client) -> None:
    """`debug` adds users' own debug lines and what Dagster says to itself; `warning` and `error` leave the serious."""

    def told(run_id: str, level: str) -> list[str]:
        answer = reader.get(f"/api/runs/{run_id}/logs", params={"level": level}).json()
        return [line["message"] for line in answer["lines"]]

    everything = told(succeeded, "debug")
    assert {"Details of the read", "Run succeeded"} <= set(everything)
    assert any(message.startswith("Executing steps in process") for message in everything)
    assert told(succeeded, "warning") == ["Node failed and will be tried again: the warehouse hung up"]
    assert told(succeeded, "error") == []
    assert told(failed, "warning") == [
        "Node failed: column 'amount' does not exist",
        "Node not started: n_bad failed",
        "Run failed: column 'amount' does not exist",
    ]
    assert told(failed, "error") == [told(failed, "warning")[0], told(failed, "warning")[2]]


def test_levels_of_what_user_code_logs(instance: DagsterInstance, reader: httpx.Client, database_url: str) -> None:
    """Python's levels, also those between and beyond ours, and whatever the message says."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    numbers = (5, 10, 15, 20, 25, 30, 40, 50)
    with psycopg2.connect(database_url) as connection:
        for number in numbers:
            log(connection, run_id=run.run_id, message=f'{number} "level": 20', level=number)

    def told(level: str) -> dict[int, str]:
        lines = reader.get(f"/api/runs/{encode_run_id(run.run_id)}/logs", params={"level": level}).json()["lines"]
        return {int(line["message"].split()[0]): line["level"] for line in lines}

    assert told("debug") == {
        **dict.fromkeys((5, 10, 15), "debug"),
        **dict.fromkeys((20, 25), "info"),
        30: "warning",
        **dict.fromkeys((40, 50), "error"),
    }
    assert set(told("info")) == {20, 25, 30, 40, 50}
    assert set(told("warning")) == {30, 40, 50}
    assert set(told("error")) == {40, 50}


def test_a_page_of_json_has_an_end(instance: DagsterInstance, reader: httpx.Client, database_url: str) -> None:
    """1,000 lines unless asked for otherwise, 10,000 at most; the cursor goes on."""
    run = make_run(instance, status=DagsterRunStatus.SUCCESS)
    write_events(database_url, run_id=run.run_id, number=10_500)
    path = f"/api/runs/{encode_run_id(run.run_id)}/logs"
    assert len(reader.get(path).json()["lines"]) == 1000
    page = reader.get(path, params={"limit": 2_000_000}).json()
    assert len(page["lines"]) == 10_000
    rest = reader.get(path, params={"since": page["nextCursor"]}).json()
    assert [line["message"] for line in rest["lines"]] == [f"line {number}" for number in range(10_000, 10_500)]
    assert rest["nextCursor"] is None


def test_a_log_event_that_becomes_visible_late_is_not_lost(
    instance: DagsterInstance, reader: httpx.Client, database_url: str
) -> None:
    """An event that commits after a later one was read comes with the next page, once."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    run_id = encode_run_id(run.run_id)
    early, late = psycopg2.connect(database_url), psycopg2.connect(database_url)
    try:
        log(late, run_id=run.run_id, message="written first, committed last")
        log(early, run_id=run.run_id, message="written last, committed first")
        early.commit()
        first = reader.get(f"/api/runs/{run_id}/logs").json()
        assert [line["message"] for line in first["lines"]] == ["written last, committed first"]
        late.commit()
        second = reader.get(f"/api/runs/{run_id}/logs", params={"since": first["nextCursor"]}).json()
        assert [line["message"] for line in second["lines"]] == ["written first, committed last"]
        third = reader.get(f"/api/runs/{run_id}/logs", params={"since": second["nextCursor"]}).json()
        assert third["lines"] == []
        assert third["nextCursor"] is not None
    finally:
        early.close()
        late.close()


@contextmanager
def transactions(url: str, *, number: int) -> Iterator[list[psycopg2.extensions.connection]]:
    with ExitStack() as opened:
        connections = [psycopg2.connect(url) for _ in range(number)]
        for connection in connections:
            opened.callback(connection.close)
        yield connections


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), rolled_back=st.sets(st.integers(0, 5), max_size=3), limit=st.integers(1, 4))
def test_transactions_that_commit_in_any_order(
    order: list[int],
    rolled_back: set[int],
    limit: int,
    instance: DagsterInstance,
    storage: Storage,
    database_url: str,
) -> None:
    """Real transactions, ended in any order with a page read after each, tell each line once; no gap stays behind."""
    run_id = make_run(instance, status=DagsterRunStatus.STARTED).run_id
    told: list[str] = []
    after = LogPosition()
    with transactions(database_url, number=6) as connections:
        for number, connection in enumerate(connections):
            log(connection, run_id=run_id, message=str(number))
        for number in order:
            connections[number].rollback() if number in rolled_back else connections[number].commit()
            page = storage.read_log(run_id, after=after, filter_by=LogFilter(), limit=limit)
            assert page is not None
            told += [line.message for line in page.lines]
            after = page.after
        while page is not None and page.more:
            page = storage.read_log(run_id, after=after, filter_by=LogFilter(), limit=limit)
            assert page is not None
            told += [line.message for line in page.lines]
            after = page.after
    assert sorted(told) == sorted(str(number) for number in order if number not in rolled_back)
    end = storage.read_log_end(run_id)
    assert (after | end) == end  # all that there is has been read


def test_the_first_line_of_a_node_is_not_lost(
    instance: DagsterInstance, storage: Storage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One who reads a node's lines sees one that is committed just before the page is read, and comes behind it."""
    run_id = make_run(instance, status=DagsterRunStatus.STARTED).run_id
    assert storage.read_run(run_id) is not None  # with which the schema has been looked at
    with transactions(database_url, number=1) as (writing,):
        log(writing, run_id=run_id, message="first", step_key="n_late")
        snapshot = Connection.snapshot

        def snapshot_after_it(connection: Connection) -> AbstractContextManager[None]:
            writing.commit()
            return snapshot(connection)

        monkeypatch.setattr(Connection, "snapshot", snapshot_after_it)
        page = storage.read_log(run_id, limit=10, filter_by=LogFilter(node_id="n_late"))
    assert page is not None
    assert [line.message for line in page.lines] == ["first"]


@pytest.mark.parametrize("limit", [3, 4, 10])
def test_a_finished_log_is_read_by_its_head(
    limit: int, instance: DagsterInstance, storage: Storage, database_url: str
) -> None:
    """Pages that go on from what was known before tell what the others do."""
    run_id = make_run(instance, status=DagsterRunStatus.SUCCESS).run_id
    write_events(database_url, run_id=run_id, number=9)
    head = _settled_head(storage, run_id)
    for after in (LogPosition(), LogPosition(last=head.newest - 3), LogPosition(last=head.newest)):
        page = storage.read_log(run_id, limit=limit, after=after, head=head)
        assert page is not None
        assert page == storage.read_log(run_id, limit=limit, after=after)
        assert page.complete or len(page.lines) == limit


def test_what_is_logged_behind_a_head_is_told(instance: DagsterInstance, storage: Storage, database_url: str) -> None:
    """A line that comes after the end of a run, and after the first look at it, is not left out."""
    run_id = make_run(instance, status=DagsterRunStatus.SUCCESS).run_id
    write_events(database_url, run_id=run_id, number=2)
    head = _settled_head(storage, run_id)
    with transactions(database_url, number=1) as (writing,):
        log(writing, run_id=run_id, message="late")
        writing.commit()
    page = storage.read_log(run_id, limit=10, head=head)
    assert page is not None
    assert [line.message for line in page.lines][2:] == ["late"]


def test_a_run_that_is_deleted_amid_its_log_is_gone(
    instance: DagsterInstance, storage: Storage, database_url: str
) -> None:
    """Who has read a part does not take the rest for empty."""
    run_id = make_run(instance, status=DagsterRunStatus.SUCCESS).run_id
    write_events(database_url, run_id=run_id, number=5)
    head = _settled_head(storage, run_id)
    page = storage.read_log(run_id, limit=3, head=head)
    assert page is not None
    assert page.more
    instance.delete_run(run_id)
    assert storage.read_log(run_id, limit=3, after=page.after, head=head) is None


def _settled_head(storage: Storage, run_id: str) -> LogHead:
    """Return the head of a finished run, once no other test is amid a write."""
    found: list[LogHead] = []

    def is_complete() -> bool:
        found[:] = filter(None, [storage.read_log_head(run_id)])
        return found[0].complete

    wait_until(is_complete, seconds=20)
    return found[0]


def test_gaps_that_nothing_can_fill_are_forgotten(
    instance: DagsterInstance, storage: Storage, database_url: str
) -> None:
    """A write that was rolled back leaves no trace in cursors once nobody is writing."""
    run_id = make_run(instance, status=DagsterRunStatus.STARTED).run_id
    with transactions(database_url, number=2) as (dead, alive):
        log(dead, run_id=run_id, message="never told")
        log(alive, run_id=run_id, message="told")
        alive.commit()
        page = storage.read_log(run_id, limit=10)
        assert page is not None
        assert page.after.last - 1 in page.after.missing
        dead.rollback()
    page = storage.read_log(run_id, limit=10, after=page.after)
    assert page is not None
    assert (page.lines, page.after.missing) == ([], ())


def test_a_log_that_stays_as_it_is_has_a_validator(succeeded: str, reader: httpx.Client) -> None:
    """The log of a finished run answers 304 to who has it already, each shape on its own; that of a live run never."""
    path = f"/api/runs/{succeeded}/logs"
    tags = {}
    for accept in ("application/json", "application/x-ndjson", "text/plain"):
        answer = reader.get(path, headers={"Accept": accept})
        assert "accept" in answer.headers["vary"].lower()
        tags[accept] = answer.headers["etag"]
        again = reader.get(path, headers={"Accept": accept, "If-None-Match": tags[accept]})
        assert (again.status_code, again.content) == (304, b"")
    assert len(set(tags.values())) == 3
    assert reader.get(path, params={"level": "debug"}, headers={"If-None-Match": ", ".join(tags.values())}).is_success


def test_the_log_of_a_live_run_has_no_validator(instance: DagsterInstance, reader: httpx.Client) -> None:
    """What may still grow is sent each time."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    assert "etag" not in reader.get(f"/api/runs/{encode_run_id(run.run_id)}/logs").headers


@pytest.mark.parametrize("path", ["/logs", "/logs/stdout", "/logs/stderr"])
@pytest.mark.parametrize("run_id", ["run_01j8k2m4", "run_00000000000000000000000000", "x", "%00", "a%2Fb", "é"])
def test_an_unknown_run_is_not_found(run_id: str, path: str, reader: httpx.Client) -> None:
    """404, in the error shape, for every text that is not the id of a run, in every shape of the log."""
    for accept in ("application/json", "application/x-ndjson", "text/plain", "text/event-stream"):
        answer = reader.get(f"/api/runs/{run_id}{path}", headers={"Accept": accept})
        assert answer.status_code == 404
        assert json.loads(answer.content)["error"]["code"] in {"run_not_found", "not_found"}


def test_runs_of_other_pipelines_are_not_there(
    succeeded: str, failed: str, reader: httpx.Client, database_url: str
) -> None:
    """A key that is limited to some pipelines finds the logs and the output of no others."""
    with open_records(database_url) as records:
        _, secret = records.keys.create(
            "limited", scopes=[Scope.PIPELINES_READ], at=datetime.now(UTC), pipeline_ids=["pl_crm"]
        )
    headers = {"Authorization": f"Bearer {secret}"}
    for accept in ("application/json", "text/plain", "text/event-stream"):
        assert reader.get(f"/api/runs/{succeeded}/logs", headers={**headers, "Accept": accept}).status_code == 200
        for path in ("logs", "logs/stdout"):
            answer = reader.get(f"/api/runs/{failed}/{path}", headers={**headers, "Accept": accept})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "run_not_found")
