"""Tells what a run has logged and put out: finds it, and chooses how it is told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from fastapi import Response

from api_adapter.addresses import dagster_run_id
from api_adapter.auth import Principal, StreamLease
from api_adapter.control import OutputStream
from api_adapter.dependencies import Services
from api_adapter.errors import InvalidRequestError, RunNotFoundError
from api_adapter.logs.cursor import PREFIX, decode_log_cursor
from api_adapter.logs.errors import OutputNotFoundError, UrlsNotAvailableError
from api_adapter.logs.follow import Followed
from api_adapter.logs.formats import LogFormat
from api_adapter.logs.schemas import RunOutputUrl, RunOutputUrls
from api_adapter.logs.streams import PageReader, stream_chunks, stream_log
from api_adapter.logs.writing import write_json, write_ndjson, write_text
from api_adapter.storage import Capture, LogFilter, LogHead, LogLevel, LogPage, LogPosition
from api_adapter.threads import Threads
from api_adapter.timestamps import parse_timestamp

DEFAULT_LINES = 1000
MOST_LINES = 10_000  # of a page
_SECONDS_TO_SETTLE = 2

OpenLease = Callable[[], StreamLease]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """What somebody wants to read of a run's log."""

    head: LogHead
    after: LogPosition
    filter_by: LogFilter
    limit: int | None


def find_log(services: Services, *, principal: Principal, run_id: str) -> LogHead:
    """Return a run and how far its log goes; `RunNotFoundError` if there is none that the caller may see."""
    head = services.storage.read_log_head(dagster_run_id(run_id))
    if head is None or not principal.may_see(head.run.pipeline_id):
        raise RunNotFoundError(run_id)
    return head


def validator_of(head: LogHead, *, media_type: str) -> tuple[str | int, ...] | None:
    """Return what a finished run's log depends on; None while the run goes on."""
    return (media_type, head.run.status, head.newest) if head.finished else None


def parse_request(
    head: LogHead,
    *,
    node_id: str | None,
    level: LogLevel,
    since: str | None,
    last_event_id: str | None,
    limit: int | None,
) -> LogRequest:
    """Return what the parameters ask for; `InvalidRequestError` names what can't be understood.

    `last_event_id` is where a stream was broken off, and goes before a cursor in `since`.
    """
    after, moment = _parse_since(since, run_id=head.run.id)
    if last_event_id:
        after = decode_log_cursor(last_event_id, run_id=head.run.id, field="Last-Event-ID")
    filter_by = LogFilter(node_id=node_id, level=level, since=moment)
    return LogRequest(head=head, after=after, filter_by=filter_by, limit=limit)


def answer_page(services: Services, request: LogRequest) -> Response:
    """Return a page of a log, in the seed's shape."""
    limit = min(request.limit or DEFAULT_LINES, MOST_LINES)
    page = _read(services, request, request.after, limit)
    return Response(write_json(page, run_id=request.head.run.id), media_type="application/json")


def answer_lines(
    services: Services,
    request: LogRequest,
    *,
    log_format: LogFormat,
    media_type: str,
    threads: Threads,
    open_lease: OpenLease,
) -> Response:
    """Return a log line by line, as NDJSON or text."""
    write = partial(write_ndjson, run_id=request.head.run.id) if log_format is LogFormat.NDJSON else _write_text
    return stream_log(
        PageReader(read=partial(_read, services, request), write=write),
        after=request.after,
        limit=request.limit,
        media_type=media_type,
        threads=threads,
        open_lease=open_lease,
    )


def followed(services: Services, request: LogRequest, *, request_id: str) -> Followed:
    """Return what a follower of the log follows."""
    run = request.head.run
    settles_at = None if run.finished_at is None else run.finished_at + _SECONDS_TO_SETTLE
    return Followed(
        run_id=run.id,
        dagster_id=run.dagster_id,
        start=request.after,
        filter_by=request.filter_by,
        settled=settles_at is not None and services.clock().timestamp() > settles_at,
        request_id=request_id,
    )


def read_urls(services: Services, *, head: LogHead, node_id: str | None) -> RunOutputUrls:
    """Return where the raw output of a run lies; `UrlsNotAvailableError` where it has no URLs."""
    output = services.control.output
    if not output.has_urls:
        raise UrlsNotAvailableError
    captures = services.storage.read_captures(head.run.dagster_id, node_id=node_id)
    return RunOutputUrls(
        run_id=head.run.id,
        urls=[
            RunOutputUrl(stream=one.stream, node_ids=list(capture.node_ids), url=one.url, expires_at=one.expires_at)
            for capture in captures
            for one in output.urls(head.run.dagster_id, file_key=capture.file_key) or ()
        ],
    )


def answer_output(
    services: Services,
    head: LogHead,
    *,
    stream: OutputStream,
    node_id: str | None,
    threads: Threads,
    open_lease: OpenLease,
) -> Response:
    """Return what a run's processes have put out, one after the other; so far, while the run goes on."""
    captures = services.storage.read_captures(head.run.dagster_id, node_id=node_id)
    chunks = _output(services, head, captures=captures, stream=stream)
    first = next(chunks, None)
    if first is None:
        if head.finished:
            raise OutputNotFoundError(head.run.id, stream=stream)
        return Response(b"", media_type="text/plain")
    return stream_chunks(chunks, first=first, media_type="text/plain", threads=threads, lease=open_lease())


def _output(services: Services, head: LogHead, *, captures: Sequence[Capture], stream: OutputStream) -> Iterator[bytes]:
    """Yield the output of several processes; nothing at all where nothing is kept, not even an empty part."""
    for capture in captures:
        chunks = services.control.output.chunks(head.run.dagster_id, file_key=capture.file_key, stream=stream)
        if chunks is not None:
            yield b""
            yield from chunks


def _read(services: Services, request: LogRequest, after: LogPosition, limit: int) -> LogPage:
    run = request.head.run
    page = services.storage.read_log(
        run.dagster_id, after=after, filter_by=request.filter_by, limit=limit, head=request.head
    )
    if page is None:  # it was deleted just now
        raise RunNotFoundError(run.id)
    return page


def _write_text(page: LogPage) -> bytes:
    return write_text(page.lines)


def _parse_since(since: str | None, *, run_id: str) -> tuple[LogPosition, datetime | None]:
    if since is None:
        return LogPosition(), None
    if since.startswith(PREFIX):
        return decode_log_cursor(since, run_id=run_id, field="since"), None
    try:
        return LogPosition(), parse_timestamp(since)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError.of_field(
            "since", "must be a timestamp such as 2025-03-31T14:00:00Z, or a cursor of this run's log"
        ) from error
