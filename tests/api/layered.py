"""A small application behind the same layers as the API's, to show what the layers do by themselves."""

from collections.abc import AsyncIterator, Iterator

from anyio.lowlevel import checkpoint
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from api_adapter.errors import RunNotFoundError
from api_adapter.exception_handlers import add_exception_handlers, answer_failure
from api_adapter.middleware import Telemetry, build_middleware

SECRET = "SELECT secret FROM somewhere"


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str


class BrokenBodyError(Exception):
    """A bug of the small application."""


def layered(*, cors_origins: tuple[str, ...] = ()) -> FastAPI:
    """The small application, with a route for each thing that can happen to an answer."""
    telemetry = Telemetry()
    app = FastAPI(
        redirect_slashes=False,
        middleware=build_middleware(cors_origins=cors_origins, telemetry=telemetry, answer_failure=answer_failure),
    )
    app.state.telemetry = telemetry
    add_exception_handlers(app)

    @app.get("/api/things/{name}")
    async def get_thing(name: str) -> Thing:
        return Thing(name=name)

    @app.delete("/api/things/{name}")
    async def delete_thing(name: str) -> None:
        raise RunNotFoundError(name)

    @app.post("/api/things")
    async def make_thing(thing: Thing) -> int:
        return len(thing.name)

    @app.get("/api/large")
    async def get_large() -> Thing:
        return Thing(name="word " * 1000)

    @app.get("/api/bug")
    def get_bug(request: Request) -> None:
        request.state.answer_headers = {"X-RateLimit-Limit": "7"}
        request.state.credential_id = "key_1"
        raise BrokenBodyError(SECRET)

    @app.get("/api/stream")
    async def get_stream(*, events: bool = False) -> StreamingResponse:
        return StreamingResponse(endless(), media_type="text/event-stream" if events else "application/x-ndjson")

    @app.get("/api/broken-stream")
    def get_broken_stream(*, known: bool = False) -> StreamingResponse:
        return StreamingResponse(broken(known=known), media_type="application/x-ndjson")

    return app


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b'{"line": 1}\n'
        await checkpoint()


def broken(*, known: bool) -> Iterator[bytes]:
    yield b'{"line": 1}\n'
    raise RunNotFoundError("run_1") if known else BrokenBodyError(SECRET)
