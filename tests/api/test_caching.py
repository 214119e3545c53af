"""Answers that stay as they are are validated, not sent again."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from api_adapter.caching import Answers, answer_cached
from tests.api.serving import serve


class Thing(BaseModel):
    name: str


class Bodies:
    """Counts what is built; the state is what its maker says."""

    def __init__(self) -> None:
        self.built = 0
        self.state: str | None = "finished"

    def build(self) -> Thing:
        self.built += 1
        return Thing(name=f"thing, {self.state}")


def app_of(bodies: Bodies, *, version: str = "1") -> FastAPI:
    app = FastAPI(version=version)
    app.state.answers = Answers()

    @app.get("/things/{name}", response_model=Thing)
    def get_thing(request: Request, name: str) -> Response:
        validator = (name, bodies.state) if bodies.state else None
        return answer_cached(request, validator=validator, build=bodies.build)

    return app


@contextmanager
def served(bodies: Bodies, *, version: str = "1") -> Iterator[httpx.Client]:
    with serve(app_of(bodies, version=version)) as client:
        yield client


def test_a_caller_that_has_the_answer_gets_304_and_nothing_is_built() -> None:
    """The first answer carries a weak ETag; with it in If-None-Match, 304 without a body and without building one."""
    bodies = Bodies()
    with served(bodies) as client:
        first = client.get("/things/a")
        tag = first.headers["etag"]
        again = client.get("/things/a", headers={"If-None-Match": tag})
    assert (first.status_code, first.json(), first.headers["content-type"]) == (
        200,
        {"name": "thing, finished"},
        "application/json",
    )
    assert tag.startswith('W/"')
    assert (again.status_code, again.content, bodies.built) == (304, b"", 1)
    for answer in (first, again):
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("*", 304),
        ("TAG", 304),
        ('"x", TAG', 304),
        ('"a,b" ,TAG,"y"', 304),
        ("OPAQUE", 304),  # a strong tag of the same words: If-None-Match compares weakly
        ('"other"', 200),
        ("", 200),
        ('W/"', 200),
        ("garbage", 200),
    ],
)
def test_if_none_match_takes_lists_stars_and_weak_tags(given: str, status: int) -> None:
    """If-None-Match is read as RFC 9110 describes it; what can't be read matches nothing."""
    with served(Bodies()) as client:
        tag = client.get("/things/a").headers["etag"]
        opaque = tag.removeprefix("W/")
        value = given.replace("OPAQUE", opaque).replace("TAG", tag)
        assert client.get("/things/a", headers={"If-None-Match": value}).status_code == status


def test_a_tag_stands_for_one_address_one_state_and_one_version() -> None:
    """Another path, query, state or version of the service has another ETag."""
    bodies = Bodies()
    with served(bodies) as client:
        tags = [client.get(path).headers["etag"] for path in ("/things/a", "/things/b", "/things/a?limit=1")]
        bodies.state = "changed"
        tags.append(client.get("/things/a").headers["etag"])
    with served(bodies, version="2") as client:
        tags.append(client.get("/things/a").headers["etag"])
    assert len(set(tags)) == 5


def test_an_answer_that_may_still_change_has_no_tag() -> None:
    """Without a validator the body is built each time, even for ``If-None-Match: *``."""
    bodies = Bodies()
    bodies.state = None
    with served(bodies) as client:
        answer = client.get("/things/a", headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.json()) == (200, {"name": "thing, None"})
    assert "etag" not in answer.headers


def test_the_next_who_asks_gets_what_was_built_before() -> None:
    """One state is built once, for callers without it too; another state or another address is built anew."""
    bodies = Bodies()
    with served(bodies) as client:
        first, second = client.get("/things/a"), client.get("/things/a")
        assert (first.content, first.headers["etag"]) == (second.content, second.headers["etag"])
        assert second.headers["content-type"] == "application/json"
        assert bodies.built == 1
        client.get("/things/b")
        bodies.state = "finished otherwise"
        assert client.get("/things/a").json() == {"name": "thing, finished otherwise"}
        assert bodies.built == 3


def test_what_may_still_change_is_never_kept() -> None:
    """Without a validator each request is built."""
    bodies = Bodies()
    bodies.state = None
    with served(bodies) as client:
        client.get("/things/a")
        client.get("/things/a")
    assert bodies.built == 2


def test_answers_make_room_for_new_ones() -> None:
    """The longest unused goes first; what is too large, a stream or no success is not kept at all."""
    answers = Answers(most_bytes=80)
    for tag in ("a", "b"):
        answers.keep(tag, Response(b"x" * 10))
    assert answers.get("a") is not None
    for number in range(7):
        answers.keep(str(number), Response(b"x" * 10))
    assert answers.get("b") is None
    assert answers.get("a") is not None
    answers.keep("large", Response(b"x" * 11))
    answers.keep("stream", StreamingResponse(iter([b"x"])))
    answers.keep("failure", Response(b"x", status_code=404))
    assert [answers.get(tag) for tag in ("large", "stream", "failure")] == [None, None, None]
