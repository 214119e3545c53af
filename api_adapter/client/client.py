"""Calls the Runs API: each call tried again while that can help, each log read to its end without a gap."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import quote

import httpx

from api_adapter.client.errors import ForeignAnswerError, RefusedError, ServiceError, UnreachableError
from api_adapter.client.events import Event, read_events, split_lines
from api_adapter.client.patience import BUSY_STATUSES, Patience

Json = dict[str, Any]

_TIMEOUT = httpx.Timeout(30, connect=5)  # a stream that goes on sends something every 10 s
_MOST_FRUITLESS = 3
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The last that comes of a log that is followed: how the run has ended; None if it was deleted."""

    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedRun:
    """The API's answer to a start, and whether an earlier call with the same key had started the run already."""

    run: Json
    replayed: bool


class RunsClient:
    """The Runs API at an address, and the credential to use; close it after use.

    All answers are the API's own JSON. Calls raise `RefusedError`, `UnreachableError` or `ForeignAnswerError`. While
    the service says that it is busy or away, and where it can't be reached though it could be before, a call is tried
    again as long as `patience` has it; `told` hears of pauses that somebody may notice.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str,
        patience: Patience = Patience(),  # noqa: B008  (immutable)
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._patience = patience
        self._told = told
        self._reached = False
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}", "User-Agent": "planasonix"},
            timeout=_TIMEOUT,
            verify=url.startswith("https:"),  # certificates take 50 ms to load, and http has no use for them
            trust_env=not _is_this_machine(url),  # a proxy would look for the service on its own machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def list_pipelines(self, *, search: str | None = None) -> Json:
        """Return the pipelines whose name or id contains `search`, and the problems of documents that did not load."""
        return self._get("/api/pipelines", params={"search": search})

    def read_pipeline(self, pipeline_id: str) -> Json:
        """Return a pipeline's document."""
        return self._get(f"/api/pipelines/{_quoted(pipeline_id)}")

    def start_run(
        self,
        pipeline_id: str,
        *,
        idempotency_key: str,
        variables: Mapping[str, Any] | None = None,
        environment_id: str | None = None,
        nodes: Sequence[str] = (),
        priority: int | None = None,
    ) -> StartedRun:
        """Queue a run. Calls with one key start one run, so that a call whose answer is lost can be made again."""
        body = {
            "variables": dict(variables or {}) or None,
            "environmentId": environment_id,
            "nodes": list(nodes) or None,
            "priority": priority,
        }
        return self._start(
            f"/api/pipelines/{_quoted(pipeline_id)}/run", body=_given(body), idempotency_key=idempotency_key
        )

    def list_schedules(self, *, pipeline_id: str | None = None, cursor: str | None = None) -> Json:
        """Return a page of schedules, by their ids."""
        return self._get("/api/schedules", params={"pipeline_id": pipeline_id, "limit": 500, "cursor": cursor})

    def read_schedule(self, schedule_id: str) -> Json:
        """Return a schedule."""
        return self._get(f"/api/schedules/{_quoted(schedule_id)}")

    def switch_schedule(self, schedule_id: str, *, on: bool) -> Json:
        """Turn a schedule on or off, and return it; doing so again changes nothing."""
        path = f"/api/schedules/{_quoted(schedule_id)}/{'enable' if on else 'disable'}"
        return self._json(self._send(self._http.build_request("POST", path)))

    def run_schedule(self, schedule_id: str, *, idempotency_key: str, variables: Mapping[str, Any]) -> StartedRun:
        """Queue a run of a schedule now; the key is as in `start_run`."""
        return self._start(
            f"/api/schedules/{_quoted(schedule_id)}/run",
            body=_given({"variables": dict(variables) or None}),
            idempotency_key=idempotency_key,
        )

    def list_runs(self, filters: Mapping[str, Any], *, limit: int, cursor: str | None = None) -> Json:
        """Return a page of runs; `filters` are the API's query parameters."""
        return self._get("/api/runs", params={**filters, "limit": limit, "cursor": cursor})

    def read_run(self, run_id: str) -> Json:
        """Return a run."""
        return self._get(f"/api/runs/{_quoted(run_id)}")

    def read_nodes(self, run_id: str) -> Sequence[Json]:
        """Return the nodes of a run in topological order."""
        nodes: list[Json] = self._get(f"/api/runs/{_quoted(run_id)}/nodes")["nodes"]
        return nodes

    def cancel_run(self, run_id: str) -> Json:
        """Ask that a run be canceled; asking again changes nothing."""
        request = self._http.build_request("DELETE", f"/api/runs/{_quoted(run_id)}")
        return self._json(self._send(request))

    def cancel_runs(self, kind: Mapping[str, Any], *, limit: int, dry_run: bool = False) -> Json:
        """Ask that runs of a kind be canceled, in the API's words for it; in a dry run, only tell which these are."""
        return self._post("/api/runs/cancel", body={**kind, "limit": limit, "dryRun": dry_run})

    def retry_run(self, run_id: str, *, idempotency_key: str, from_failure: bool = True) -> StartedRun:
        """Queue another run of what failed or was canceled, or of everything; the key is as in `start_run`."""
        return self._start(
            f"/api/runs/{_quoted(run_id)}/retry", body={"fromFailure": from_failure}, idempotency_key=idempotency_key
        )

    def start_backfill(self, pipeline_id: str, *, idempotency_key: str, body: Mapping[str, Any]) -> Json:
        """Queue a run for each slice of a range, in the API's words for it; the key is as in `start_run`."""
        path = f"/api/pipelines/{_quoted(pipeline_id)}/backfill"
        return self._start(path, body=body, idempotency_key=idempotency_key).run

    def list_backfills(self, *, pipeline_id: str | None, limit: int) -> Json:
        """Return a page of backfills, newest first."""
        return self._get("/api/backfills", params={"pipelineId": pipeline_id, "limit": limit})

    def read_backfill(self, backfill_id: str) -> Json:
        """Return a backfill and how far it has come."""
        return self._get(f"/api/backfills/{_quoted(backfill_id)}")

    def list_slices(self, backfill_id: str, *, cursor: str | None = None) -> Json:
        """Return a page of a backfill's slices, the earliest first, each with its newest run."""
        return self._get(f"/api/backfills/{_quoted(backfill_id)}/slices", params={"limit": 500, "cursor": cursor})

    def cancel_backfill(self, backfill_id: str) -> Json:
        """Ask that all runs of a backfill be canceled that have not ended."""
        return self._post(f"/api/backfills/{_quoted(backfill_id)}/cancel", body={})

    def retry_backfill(self, backfill_id: str) -> Json:
        """Queue another run for each slice that has failed or was canceled."""
        return self._post(f"/api/backfills/{_quoted(backfill_id)}/retry", body={})

    def list_triggers(self, filters: Mapping[str, Any], *, cursor: str | None = None) -> Json:
        """Return a page of triggers, by id; `filters` are the API's query parameters."""
        return self._get("/api/triggers", params={**filters, "limit": 500, "cursor": cursor})

    def switch_trigger(self, trigger_id: str, *, on: bool) -> Json:
        """Turn a trigger on or off, and return it."""
        return self._post(f"/api/triggers/{_quoted(trigger_id)}/{'enable' if on else 'disable'}", body={})

    def test_trigger(self, trigger_id: str, call: Mapping[str, Any]) -> Json:
        """Return what is right and wrong with a trigger, and of a webhook with a call, in the API's words for it."""
        return self._post(f"/api/triggers/{_quoted(trigger_id)}/test", body=call)

    def list_trigger_executions(self, trigger_id: str, *, status: str | None, limit: int) -> Json:
        """Return the newest runs that a trigger has started."""
        path = f"/api/triggers/{_quoted(trigger_id)}/executions"
        return self._get(path, params={"status": status, "limit": limit})

    def read_log(self, run_id: str, **filters: str | None) -> Iterator[Json]:
        """Yield the lines of a log as far as it goes, each with its cursor; the filters are the API's parameters."""
        accept = {"Accept": "application/x-ndjson"}
        fruitless = 0
        while True:
            try:
                with self._streamed(f"/api/runs/{_quoted(run_id)}/logs", params=filters, headers=accept) as answer:
                    for text in split_lines(answer.iter_bytes()):
                        line = self._parsed(text)
                        filters = {**filters, "since": line["cursor"]}
                        fruitless = 0
                        yield line
                    return
            except httpx.TransportError as error:  # in the middle: the rest follows behind the last line
                fruitless += 1
                if fruitless > _MOST_FRUITLESS:
                    raise self._failure(error)[0] from error
            time.sleep(self._patience.come_back)

    def follow_log(self, run_id: str, **filters: str | None) -> Iterator[Json | LogEnd]:
        """Yield the lines of a log, each with its cursor, those to come as they come; then how the run has ended."""
        headers = {"Accept": "text/event-stream"}
        while True:
            try:
                with self._streamed(f"/api/runs/{_quoted(run_id)}/logs", params=filters, headers=headers) as answer:
                    for event in read_events(answer):
                        told = self._told_by(event)
                        yield told
                        if isinstance(told, LogEnd):
                            return
                        headers["Last-Event-ID"] = event.id or ""
            except httpx.TransportError:
                pass
            time.sleep(self._patience.come_back)

    def _told_by(self, event: Event) -> Json | LogEnd:
        data = self._parsed(event.data)
        if event.name == "end":
            return LogEnd(data["status"])
        if event.name == "revoked":
            raise _refused(data["error"], status=401)
        return {**data, "cursor": event.id}

    def _get(self, path: str, *, params: Mapping[str, Any] | None = None) -> Json:
        return self._json(self._send(self._http.build_request("GET", path, params=_given(params))))

    def _post(self, path: str, *, body: Mapping[str, Any]) -> Json:
        return self._json(self._send(self._http.build_request("POST", path, json=body)))

    def _start(self, path: str, *, body: Mapping[str, Any], idempotency_key: str) -> StartedRun:
        headers = {"Idempotency-Key": idempotency_key}
        answer = self._send(self._http.build_request("POST", path, json=body, headers=headers))
        return StartedRun(run=self._json(answer), replayed=answer.headers.get("Idempotent-Replayed") == "true")

    @contextmanager
    def _streamed(
        self, path: str, *, params: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Iterator[httpx.Response]:
        request = self._http.build_request("GET", path, params=_given(params), headers=headers)
        response = self._send(request, stream=True)
        try:
            yield response
        finally:
            response.close()

    def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Return the answer once there is a good one."""
        deadline = time.monotonic() + self._patience.total
        attempt = 0
        while True:
            answer = self._attempt(request, stream=stream)
            if isinstance(answer, httpx.Response) and answer.is_success:
                return answer
            failure, hopeful, headers = self._failure(answer)
            pause = self._patience.pause(attempt, headers=headers)
            if not hopeful or time.monotonic() + pause > deadline:
                raise failure
            if pause >= 1:
                self._told(f"{str(failure).removesuffix('.')}; trying again in {pause:.0f} s")
            time.sleep(pause)
            attempt += 1

    def _attempt(self, request: httpx.Request, *, stream: bool) -> httpx.Response | httpx.TransportError:
        """Return what comes of one attempt; of an answer that is no good one, the whole."""
        try:
            response = self._http.send(request, stream=stream)
            self._reached = True
            if not response.is_success:
                response.read()
        except httpx.TransportError as error:
            return error
        return response

    def _failure(self, answer: httpx.Response | httpx.TransportError) -> tuple[ServiceError, bool, Mapping[str, str]]:
        """Return the error to raise, whether it may pass, and the headers that may say when."""
        if isinstance(answer, httpx.Response):
            return self._refusal(answer), answer.status_code in BUSY_STATUSES, answer.headers
        slow = isinstance(answer, httpx.TimeoutException)
        reason = "it took too long" if slow else str(answer) or type(answer).__name__
        lost = self._reached or not isinstance(answer, _NOT_SENT)
        return UnreachableError(self._url, reason=reason, lost=lost), self._reached, {}

    def _refusal(self, response: httpx.Response) -> ServiceError:
        """Return what an answer says that is no good one."""
        try:
            return _refused(response.json()["error"], status=response.status_code)
        except (ValueError, KeyError, TypeError):
            answer = f"{response.status_code} {response.reason_phrase}".strip()
            return ForeignAnswerError(self._url, answer=answer)

    def _json(self, response: httpx.Response) -> Json:
        return self._parsed(response.content)

    def _parsed(self, text: str | bytes) -> Json:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ForeignAnswerError(self._url, answer="what it sends is no JSON object")
        return value


def _refused(error: Mapping[str, Any], *, status: int) -> RefusedError:
    return RefusedError(
        status=status,
        code=error["code"],
        message=error["message"],
        details=error.get("details") or (),
        request_id=error.get("requestId"),
    )


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _is_this_machine(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
