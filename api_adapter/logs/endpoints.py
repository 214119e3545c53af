"""The routes of the logs resource."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api_adapter.addresses import NO_NUL, RunIdPath
from api_adapter.auth import GuardedRoute, Principal, Scope, open_stream, requires
from api_adapter.caching import answer_cached
from api_adapter.control import OutputStream
from api_adapter.dependencies import OfApplication, Services, ServicesDependency
from api_adapter.logs import service
from api_adapter.logs.documentation import LOG_RESPONSES, OUTPUT_RESPONSES
from api_adapter.logs.follow import Followers
from api_adapter.logs.formats import LogFormat, choose_format
from api_adapter.logs.schemas import RunLogs, RunOutputUrls
from api_adapter.logs.streams import LiveResponse
from api_adapter.responses import ALWAYS, DEFAULT, declare, json_response
from api_adapter.storage import LogLevel
from api_adapter.threads import Threads


@dataclass(frozen=True, slots=True)
class LogStreams:
    """What the streams of one process share."""

    threads: Threads
    followers: Followers


_THREADS = 4  # for all streams of a process, so that those never take the threads of other requests


@asynccontextmanager
async def open_log_streams(services: Services) -> AsyncIterator[LogStreams]:
    """Give what the streams of an application share, and end them with it."""
    threads = Threads(_THREADS, name="streams")
    followers = Followers(services.storage, threads=threads)
    try:
        yield LogStreams(threads, followers)
    finally:
        await followers.close()
        threads.close()


router = APIRouter(prefix="/api", route_class=GuardedRoute, tags=["logs"], responses={**declare(*ALWAYS), **DEFAULT})

_UNBUFFERED = {"X-Accel-Buffering": "no"}  # which nginx heeds

Reader = Annotated[Principal, requires(Scope.PIPELINES_READ)]
StreamsDependency = Annotated[LogStreams, Depends(OfApplication("log_streams"))]
NodeIdQuery = Annotated[str | None, Query(alias="nodeId", description="Only this node's.", pattern=NO_NUL)]


@router.get(
    "/runs/{id}/logs", operation_id="listRunLogs", response_model=RunLogs | RunOutputUrls, responses=LOG_RESPONSES
)
def list_run_logs(
    request: Request,
    services: ServicesDependency,
    streams: StreamsDependency,
    *,
    principal: Reader,
    run_id: RunIdPath,
    node_id: NodeIdQuery = None,
    since: Annotated[
        str | None,
        Query(description="A timestamp, or a cursor (`nextCursor`, `cursor`, an event's id) to get only what follows."),
    ] = None,
    level: Annotated[
        LogLevel, Query(description="The least level; `debug` adds what Dagster says to itself.")
    ] = "info",
    limit: Annotated[
        int | None,
        Query(
            ge=1,
            le=2**31 - 1,
            description=f"Most lines. A page of JSON has {service.DEFAULT_LINES:,} by default and "
            f"{service.MOST_LINES:,} at most; NDJSON and text have all by default.",
        ),
    ] = None,
    shape: Annotated[
        Literal["json", "ndjson", "text", "urls"] | None,
        Query(alias="format", description="The shape of the answer, whatever `Accept` says."),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", description="Where a stream of events was broken off: goes before `since`."),
    ] = None,
) -> Response:
    """Return a run's log: what its nodes logged, and its milestones.

    In pages of JSON, as lines (NDJSON or text), or followed live as server-sent events.
    """
    log_format, media_type = choose_format(request.headers.getlist("accept"), asked=shape)
    head = service.find_log(services, principal=principal, run_id=run_id)
    if log_format is LogFormat.URLS:
        return json_response(service.read_urls(services, head=head, node_id=node_id))
    asked = service.parse_request(
        head,
        node_id=node_id,
        level=level,
        since=since,
        last_event_id=last_event_id if log_format is LogFormat.EVENTS else None,
        limit=limit,
    )
    answer = _answer(
        request,
        services,
        streams,
        asked=asked,
        log_format=log_format,
        media_type=media_type,
        open_lease=partial(open_stream, request, principal),
    )
    answer.headers.setdefault("Vary", "Accept")
    return answer


def _answer(
    request: Request,
    services: Services,
    streams: LogStreams,
    *,
    asked: service.LogRequest,
    log_format: LogFormat,
    media_type: str,
    open_lease: service.OpenLease,
) -> Response:
    if log_format is LogFormat.EVENTS:
        followed = service.followed(services, asked, request_id=request.state.request_id)
        lease = open_lease()
        events = streams.followers.follow(followed, lease=lease)
        return LiveResponse(events, lease=lease, media_type=media_type, headers=_UNBUFFERED)

    def build() -> Response:
        if log_format is LogFormat.JSON:
            return service.answer_page(services, asked)
        return service.answer_lines(
            services,
            asked,
            log_format=log_format,
            media_type=media_type,
            threads=streams.threads,
            open_lease=open_lease,
        )

    return answer_cached(request, validator=service.validator_of(asked.head, media_type=media_type), build=build)


@router.get(
    "/runs/{id}/logs/{stream}", operation_id="getRunOutput", response_class=Response, responses=OUTPUT_RESPONSES
)
def get_run_output(
    request: Request,
    services: ServicesDependency,
    streams: StreamsDependency,
    *,
    principal: Reader,
    run_id: RunIdPath,
    stream: OutputStream,
    node_id: NodeIdQuery = None,
) -> Response:
    """Return the raw output of a run's processes, one after the other; so far, while the run goes on."""
    head = service.find_log(services, principal=principal, run_id=run_id)
    return service.answer_output(
        services,
        head,
        stream=stream,
        node_id=node_id,
        threads=streams.threads,
        open_lease=partial(open_stream, request, principal),
    )
