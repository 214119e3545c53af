"""What the cases measure with: the load generator, the followers, and the comparison of facts."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

from benchmarks.followers import follow
from benchmarks.load import generate
from benchmarks.reading import NodeFacts, check_same, told_alike
from benchmarks.wire import NotSuccessfulError, answer_size, body_of, write_request
from tests.api.serving import serve

NODE = NodeFacts(node_id="n", status="succeeded", started_at=1.0, finished_at=2.0, rows_in=None, rows_out=7)


def application() -> FastAPI:
    """Something to put load on, that fails on wish, and a stream with one line of the past and two of now."""
    app = FastAPI()

    @app.get("/numbers")
    def numbers() -> list[int]:
        return list(range(10_000))

    @app.get("/failing")
    def failing() -> Response:
        return Response(status_code=503)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield "data: at 0.000000;\n\n"
            for _ in range(2):
                made_at = time.monotonic()
                await asyncio.sleep(0.05)
                yield f"data: at {made_at:.6f};\n\n"

        return StreamingResponse(lines())

    return app


def test_load_counts_the_answers_that_came_in_time() -> None:
    """All connections are kept busy until the time is over, with answers that come in several parts too."""
    with serve(application()) as client:
        request = write_request("GET", "/numbers", headers={})
        taken = asyncio.run(generate(request, port=client.base_url.port or 0, clients=4, seconds=0.5))
    assert len(taken) > 8
    assert all(0 < seconds < 0.5 for seconds in taken)


def test_load_does_not_count_failures() -> None:
    """An answer that is no success ends the measurement."""
    request = write_request("GET", "/failing", headers={})
    with serve(application()) as client:
        loaded = generate(request, port=client.base_url.port or 0, clients=2, seconds=5)
        with pytest.raises(NotSuccessfulError, match="503"):
            asyncio.run(loaded)


def test_followers_note_how_late_lines_come(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of now counts once for each follower; a line of the past tells that he is there."""
    with serve(application()) as client:
        request = write_request("GET", "/stream", headers={})
        late = asyncio.run(follow(request, port=client.base_url.port or 0, followers=3, lines=2))
    assert len(late) == 6
    assert all(0.04 < seconds < 2 for seconds in late)
    assert capsys.readouterr().out == "ready\n"


def test_an_answer_is_complete_when_its_length_says_so() -> None:
    """The size counts head and body, and is 0 while the head is not complete."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert answer_size(answer) == len(answer)
    assert answer_size(answer[:20]) == 0
    assert body_of(answer) == b"hello"


def test_facts_are_alike_up_to_a_millisecond() -> None:
    """Times may be rounded to milliseconds; all else must be the same."""
    assert told_alike(NODE, replace(NODE, started_at=1.0009))
    assert not told_alike(NODE, replace(NODE, started_at=1.002))
    assert not told_alike(NODE, replace(NODE, started_at=None))
    assert not told_alike(NODE, replace(NODE, rows_out=8))


def test_answers_that_differ_are_told_apart() -> None:
    """A fact that differs, is missing, or is one of too few, fails the case, and the message says where."""
    check_same({"ours": [NODE], "SQL": [NODE]})
    with pytest.raises(AssertionError, match=r"number 0: ours gives .*SQL"):
        check_same({"ours": [NODE], "SQL": [replace(NODE, status="failed")]})
    with pytest.raises(AssertionError, match="ours gives 1 and SQL 0"):
        check_same({"ours": [NODE], "SQL": []})
    with pytest.raises(AssertionError, match="ours gives 1 instead of 50"):
        check_same({"ours": [NODE], "SQL": [NODE]}, least=50)
