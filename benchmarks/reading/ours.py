"""Asks our API over HTTP."""

from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import urlencode

from benchmarks.reading.facts import (
    LOG_PAGE,
    PAGE,
    LineFacts,
    NodeFacts,
    PageQuery,
    Reading,
    RunDetailFacts,
    RunFacts,
)
from benchmarks.services import Client
from planasonix_orchestrator.contract.ids import decode_run_id, encode_run_id

_LARGEST_PAGE = 500


class OurReader:
    """The Runs API, through a client of it.

    The service keeps what it has told of finished runs. With `again` it may answer from there; else each request is one
    that it has never seen.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers = count()

    def _ask(self, path: str, *, again: bool) -> Any:
        if again:
            return self._client.get(path)
        separator = "&" if "?" in path else "?"
        return self._client.get(f"{path}{separator}first={next(self._numbers)}")

    def page(self, query: PageQuery, *, cursor: str | None = None) -> Reading[RunFacts]:
        """Ask for a page of runs; `cursor` is the one that leads behind `query.after`."""
        path = page_path(query, cursor=cursor)
        return Reading(fetch=lambda: self._client.get(path), tell=lambda answer: [_run(run) for run in answer["data"]])

    def run(self, dagster_id: str, *, again: bool = False) -> Reading[RunDetailFacts]:
        """Ask for a run in full."""
        path = f"/api/runs/{encode_run_id(dagster_id)}"
        return Reading(fetch=lambda: self._ask(path, again=again), tell=lambda run: [_detail(run)])

    def nodes(self, dagster_id: str, *, again: bool = False) -> Reading[NodeFacts]:
        """Ask for the nodes of a run."""
        path = f"/api/runs/{encode_run_id(dagster_id)}/nodes"
        return Reading(
            fetch=lambda: self._ask(path, again=again), tell=lambda answer: [_node(node) for node in answer["nodes"]]
        )

    def log(
        self, dagster_id: str, *, cursor: str | None = None, node: str | None = None, again: bool = False
    ) -> Reading[LineFacts]:
        """Ask for a page of a run's log, behind a cursor, of one node or all."""
        asked = {"limit": LOG_PAGE, "since": cursor, "nodeId": node}
        chosen = urlencode({name: value for name, value in asked.items() if value is not None})
        path = f"/api/runs/{encode_run_id(dagster_id)}/logs?{chosen}"
        return Reading(fetch=lambda: self._ask(path, again=again), tell=_lines)

    def walk_runs(self, *, past: int, step: int = _LARGEST_PAGE) -> tuple[str, str]:
        """Return the cursor behind so many runs (or up to a page more), and the Dagster id of the run before it."""
        cursor: str | None = None
        seen = 0
        while True:
            more = f"&cursor={cursor}" if cursor else ""
            answer = self._client.get(f"/api/runs?limit={step}{more}")
            seen += len(answer["data"])
            cursor = answer["meta"]["cursor"]
            assert cursor, f"the list ends after {seen} runs"
            if seen >= past:
                return cursor, decode_run_id(answer["data"][-1]["id"])

    def walk_log(self, dagster_id: str, *, past: int) -> str:
        """Return the cursor behind so many lines of a run's log (or up to 999 more)."""
        cursor: str | None = None
        seen = 0
        while seen < past:
            answer = self.log(dagster_id, cursor=cursor).fetch()
            seen += len(answer["lines"])
            cursor = answer["nextCursor"]
            assert cursor, f"the log ends after {seen} lines"
        return cursor or ""


def page_path(query: PageQuery, *, cursor: str | None = None) -> str:
    """Return the path and query string of a page of runs."""
    dates = None
    if query.since or query.until:
        dates = "..".join(f"{moment.isoformat()}" if moment else "" for moment in (query.since, query.until))
    asked = {
        "limit": PAGE,
        "pipelineId": query.pipeline_id,
        "status": query.status,
        "dateRange": dates,
        "cursor": cursor,
    }
    return "/api/runs?" + urlencode({name: value for name, value in asked.items() if value is not None})


def _run(run: dict[str, Any]) -> RunFacts:
    return RunFacts(
        dagster_id=decode_run_id(run["id"]),
        pipeline_id=run["pipelineId"],
        status=run["status"],
        trigger=run["trigger"],
        started_at=_moment(run["startedAt"]),
        finished_at=_moment(run["finishedAt"]),
    )


def _detail(run: dict[str, Any]) -> RunDetailFacts:
    queued_at = _moment(run["queuedAt"])
    assert queued_at is not None
    return RunDetailFacts(
        run=_run({**run, "trigger": run["trigger"]["type"]}),
        queued_at=queued_at,
        rows_read=run["metrics"]["rowsRead"],
        rows_written=run["metrics"]["rowsWritten"],
    )


def _node(node: dict[str, Any]) -> NodeFacts:
    return NodeFacts(
        node_id=node["nodeId"],
        status=node["status"],
        started_at=_moment(node["startedAt"]),
        finished_at=_moment(node["finishedAt"]),
        rows_in=node["metrics"].get("rowsIn"),
        rows_out=node["metrics"].get("rowsOut"),
    )


def _lines(answer: dict[str, Any]) -> list[LineFacts]:
    """Return the lines that nodes have logged, without our own milestones."""
    return [
        LineFacts(node_id=line["nodeId"], message=line["message"], logged_at=_moment(line["ts"]) or 0)
        for line in answer["lines"]
        if line["message"].startswith("Batch ")
    ]


def _moment(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC).timestamp()
