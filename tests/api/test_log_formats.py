"""The shapes of a log: which one a request gets, and what each looks like."""

import asyncio
import json
import re
import tracemalloc
from datetime import UTC, datetime

import httpx
import psycopg2
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from fastapi import Response
from hypothesis import given
from hypothesis import strategies as st

from api_adapter.auth import Principal, StreamLease
from api_adapter.logs.errors import NotAcceptableError
from api_adapter.logs.formats import MEDIA_TYPES, LogFormat, choose_format
from api_adapter.logs.schemas import RunLogRecord
from api_adapter.logs.streams import CredentialEndedError, LiveResponse, PageReader, stream_log
from api_adapter.logs.writing import write_text
from api_adapter.storage import LogPage, LogPosition, Storage
from api_adapter.threads import Threads
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id
from tests.api import served
from tests.api.making import execute, make_run
from tests.api.test_failures import assert_error_shape
from tests.api.writing import log, write_events

JSON, NDJSON, TEXT, EVENTS = "application/json", "application/x-ndjson", "text/plain", "text/event-stream"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ([], JSON),
        ([""], JSON),
        (["*/*"], JSON),
        (["application/*"], JSON),
        (["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], JSON),
        (["application/json"], JSON),
        (["application/x-ndjson"], NDJSON),
        (["application/ndjson"], "application/ndjson"),
        (["application/jsonl"], "application/jsonl"),
        (["text/*"], TEXT),
        (["text/plain; charset=utf-8"], TEXT),
        (["TEXT/EVENT-STREAM"], EVENTS),
        (["text/event-stream, */*"], EVENTS),
        (["text/event-stream;q=0.5, */*;q=0.1"], EVENTS),
        (["application/json, text/event-stream"], JSON),
        (["text/event-stream, application/json"], EVENTS),
        (["application/json;q=0.4, text/plain;q=0.6"], TEXT),
        (["application/json;q=0", "*/*;q=0.5"], NDJSON),
        (["*/*;q=0.5, application/json;q=0, application/x-ndjson;q=0.2"], "application/ndjson"),
        (["text/html", "text/plain;q=0.1"], TEXT),
        (['text/plain;note="a, b;q=0";q=0.3, application/json ; q=0.2'], TEXT),
        (["nonsense, text/plain"], TEXT),
    ],
)
def test_accept_chooses_the_shape(accept: list[str], chosen: str) -> None:
    """Weight first, then the closer name, then the order of the caller; parameters but `q` don't matter."""
    assert choose_format(accept, asked=None)[1] == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/*;q=1", "*/*;q=0", "application/json;q=0", "json", ",", ";;"])
def test_what_nothing_fits_is_not_acceptable(accept: str) -> None:
    """A log can't be sent as anything else."""
    with pytest.raises(NotAcceptableError):
        choose_format([accept], asked=None)


@given(st.text(max_size=60))
def test_any_accept_is_understood_or_refused(accept: str) -> None:
    """No header makes the choice fail otherwise."""
    try:
        kind, media_type = choose_format([accept], asked=None)
    except NotAcceptableError:
        return
    assert media_type in MEDIA_TYPES[kind]


@pytest.fixture(scope="module")
def run_id(instance: DagsterInstance) -> str:
    return encode_run_id(execute(served.crm_to_warehouse, instance=instance))


@pytest.mark.parametrize("accept", [JSON, NDJSON, "application/jsonl", TEXT, EVENTS])
def test_every_shape_over_http(accept: str, run_id: str, reader: httpx.Client) -> None:
    """The type that was asked for is the one that comes."""
    answer = reader.get(f"/api/runs/{run_id}/logs", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == accept
    assert "Started read" in answer.text


def test_not_acceptable_has_the_one_error_shape(run_id: str, reader: httpx.Client) -> None:
    """406 in JSON, whatever was asked for, naming what there is."""
    answer = reader.get(f"/api/runs/{run_id}/logs", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not_acceptable")
    assert_error_shape(answer)
    assert all(kind in answer.json()["error"]["message"] for kind in (JSON, NDJSON, TEXT, EVENTS))


@pytest.mark.parametrize("accept", ["image/png", TEXT, NDJSON, EVENTS, "*/*"])
@pytest.mark.parametrize(("name", "kind"), [("json", JSON), ("ndjson", NDJSON), ("text", TEXT)])
def test_format_goes_before_accept(name: str, kind: str, accept: str, run_id: str, reader: httpx.Client) -> None:
    """`format` decides where it is given, also where `Accept` wants something else or the impossible."""
    answer = reader.get(f"/api/runs/{run_id}/logs", params={"format": name}, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)


@pytest.mark.parametrize("name", ["xml", "", "JSON", "events"])
def test_an_unknown_format_is_refused(name: str, run_id: str, reader: httpx.Client) -> None:
    """400 that names the field."""
    answer = reader.get(f"/api/runs/{run_id}/logs", params={"format": name})
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (400, "format")


def test_formats_are_documented(reader: httpx.Client) -> None:
    """The OpenAPI document describes each media type, with an example."""
    operation = reader.get("/openapi.json").json()["paths"]["/api/runs/{id}/logs"]["get"]
    content = operation["responses"]["200"]["content"]
    assert set(content) == {kind for several in MEDIA_TYPES.values() for kind in several}
    for kind, media in content.items():
        assert kind == JSON or (media["example"] and media["schema"]["description"])
    assert {LogFormat.JSON, LogFormat.URLS} == {kind for kind in LogFormat if MEDIA_TYPES[kind] == (JSON,)}


def test_ndjson_has_the_lines_of_json_with_a_cursor_each(run_id: str, reader: httpx.Client) -> None:
    """Line by line the same as in JSON; behind each line's cursor exactly the rest follows."""
    path = f"/api/runs/{run_id}/logs"
    lines = [json.loads(line) for line in reader.get(path, params={"format": "ndjson"}).text.splitlines()]
    for line in lines:
        assert RunLogRecord.model_validate(line).model_dump(by_alias=True, mode="json") == line
    assert [{key: line[key] for key in line if key != "cursor"} for line in lines] == reader.get(path).json()["lines"]
    for number, line in enumerate(lines, start=1):
        rest = reader.get(path, params={"format": "ndjson", "since": line["cursor"]}).text
        assert [json.loads(line) for line in rest.splitlines()] == lines[number:]


def test_text_is_for_people(instance: DagsterInstance, reader: httpx.Client, database_url: str) -> None:
    """Time with milliseconds, level, node or a dash, message; further lines of a message are indented."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    at = datetime(2025, 3, 27, 2, 0, 6, 123456, tzinfo=UTC)
    with psycopg2.connect(database_url) as connection:
        log(connection, run_id=run.run_id, message="Begun", at=at.replace(microsecond=0))
        log(connection, run_id=run.run_id, message="one\ntwo\r\nthree\u2028four\n", level=40, step_key="a_x20_b", at=at)
        log(connection, run_id=run.run_id, message="Ünï 漢字", level=30, step_key="n", at=at)
    answer = reader.get(f"/api/runs/{encode_run_id(run.run_id)}/logs", headers={"Accept": TEXT})
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == (
        "2025-03-27T02:00:06.000Z INFO    -  Begun\n"
        "2025-03-27T02:00:06.123Z ERROR   a b  one\n"
        "    two\n"
        "    three\n"
        "    four\n"
        "2025-03-27T02:00:06.123Z WARNING n  Ünï 漢字\n"
    )


def test_messages_that_json_can_hardly_hold(instance: DagsterInstance, reader: httpx.Client, database_url: str) -> None:
    """Half a surrogate pair becomes a question mark; all else comes as it was logged, on one line of NDJSON."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    messages = ["half \ud83d pair", "nul \0", 'quotes " and \\', "two\nlines", "\u2028", "🎈"]
    with psycopg2.connect(database_url) as connection:
        for message in messages:
            log(connection, run_id=run.run_id, message=message)
    text = reader.get(f"/api/runs/{encode_run_id(run.run_id)}/logs", params={"format": "ndjson"}).text
    told = [json.loads(line)["message"] for line in text.removesuffix("\n").split("\n")]
    assert told == ["half ? pair", *messages[1:]]


@pytest.fixture(scope="module")
def long_run(instance: DagsterInstance, database_url: str) -> str:
    run = make_run(instance, status=DagsterRunStatus.SUCCESS)
    write_events(database_url, run_id=run.run_id, number=20_500, length=1000)
    return encode_run_id(run.run_id)


@pytest.mark.parametrize("name", ["ndjson", "text"])
def test_streams_tell_all_by_default(name: str, long_run: str, reader: httpx.Client) -> None:
    """Without a limit all lines come, over many pages; with one, so many."""
    path = f"/api/runs/{long_run}/logs"
    numbers = re.findall(r"line (\d+)\.", reader.get(path, params={"format": name}).text)
    assert numbers == [str(number) for number in range(20_500)]
    for limit in (1, 999, 1000, 1001, 3500):
        numbers = re.findall(r"line (\d+)\.", reader.get(path, params={"format": name, "limit": limit}).text)
        assert numbers == [str(number) for number in range(limit)]


def test_streams_take_the_same_filters(instance: DagsterInstance, reader: httpx.Client, database_url: str) -> None:
    """`nodeId`, `level` and `since` narrow a stream over its pages as they narrow a page."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    with psycopg2.connect(database_url) as connection:
        for number in range(2300):
            log(
                connection,
                run_id=run.run_id,
                message=f"line {number}.",
                level=30 if number % 3 else 20,
                step_key="a" if number % 2 else "b",
            )
    path = f"/api/runs/{encode_run_id(run.run_id)}/logs"

    def told(**params: str) -> list[int]:
        text = reader.get(path, params={"format": "text", **params}).text
        return [int(number) for number in re.findall(r"line (\d+)\.", text)]

    assert told(nodeId="a") == [number for number in range(2300) if number % 2]
    assert told(nodeId="a", level="warning") == [number for number in range(2300) if number % 2 and number % 3]
    page = reader.get(path, params={"limit": 100, "nodeId": "a"}).json()
    assert told(nodeId="a", since=page["nextCursor"]) == [number for number in range(200, 2300) if number % 2]


@pytest.mark.parametrize("name", ["ndjson", "text"])
def test_streams_take_no_more_memory_for_more_lines(name: str, long_run: str, reader: httpx.Client) -> None:
    """A log is read page by page: what the service holds at once is a small part of it."""
    path = f"/api/runs/{long_run}/logs"

    def peak(limit: int) -> tuple[int, int]:
        """What was allocated at most, here and in the service, which is in this process; and what came."""
        received = 0
        tracemalloc.start()
        try:
            with reader.stream("GET", path, params={"format": name, "limit": limit}) as answer:
                for chunk in answer.iter_bytes():
                    received += len(chunk)
            return tracemalloc.get_traced_memory()[1], received
        finally:
            tracemalloc.stop()

    peak(2000)
    few, _ = peak(2000)
    many, received = peak(20_500)
    assert received > 20_000_000
    assert many < few + 5_000_000


def test_a_stream_is_cut_when_its_credential_ends(long_run: str, storage: Storage) -> None:
    """A long log is a stream with a lease: when that ends, the answer breaks off, and does not look whole."""
    leases: list[StreamLease] = []
    released: list[StreamLease] = []

    def open_lease() -> StreamLease:
        principal = Principal(kind="key", id="key_1", name="tests", scopes=frozenset())
        leases.append(StreamLease(principal, release=released.append))
        return leases[-1]

    def read(after: LogPosition, limit: int) -> LogPage:
        page = storage.read_log(decode_run_id(long_run), after=after, limit=limit)
        assert page is not None
        return page

    def stream(limit: int) -> Response:
        reader = PageReader(read=read, write=lambda page: write_text(page.lines))
        threads = Threads(4, name="streams")
        return stream_log(
            reader, after=LogPosition(), limit=limit, media_type=TEXT, threads=threads, open_lease=open_lease
        )

    async def lines() -> list[bytes]:
        answer = stream(5000)
        assert isinstance(answer, LiveResponse)
        received = [await anext(answer.body_iterator), await anext(answer.body_iterator)]
        leases[0].end()
        with pytest.raises(CredentialEndedError):
            await anext(answer.body_iterator)
        return received

    assert [part.count(b"\n") for part in asyncio.run(lines())] == [1000, 1000]
    assert released == leases
    assert not isinstance(stream(1000), LiveResponse)  # what fits into a page needs no lease
    assert len(leases) == 1


def test_head_answers_without_following(instance: DagsterInstance, reader: httpx.Client) -> None:
    """HEAD has the headers of each shape, and ends at once, also where GET would follow the run."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    for accept in (JSON, NDJSON, TEXT, EVENTS):
        answer = reader.head(f"/api/runs/{encode_run_id(run.run_id)}/logs", headers={"Accept": accept})
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"].partition(";")[0] == accept


def test_long_streams_are_compressed_part_by_part(long_run: str, reader: httpx.Client) -> None:
    """Where the caller accepts gzip, lines arrive compressed, and are all there."""
    path = f"/api/runs/{long_run}/logs"
    with reader.stream("GET", path, params={"format": "ndjson"}, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert sum(1 for _ in answer.iter_lines()) == 20_500
