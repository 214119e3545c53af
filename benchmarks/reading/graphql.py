"""Asks dagster-webserver's GraphQL over HTTP, with queries cut down to the facts."""

from typing import Any

from benchmarks.reading.facts import (
    LOG_PAGE,
    PAGE,
    LineFacts,
    NodeFacts,
    PageQuery,
    Reading,
    RunDetailFacts,
    RunFacts,
    row_counts,
    row_totals,
    run_facts,
)
from benchmarks.services import Client

_RUN = "runId pipelineName status tags { key value } creationTime startTime endTime"
RUNS_QUERY = f"""
query RunsRootQuery($limit: Int, $cursor: String, $filter: RunsFilter!) {{
  runsOrError(limit: $limit, cursor: $cursor, filter: $filter) {{
    ... on Runs {{ results {{ {_RUN} }} }}
    ... on InvalidPipelineRunsFilterError {{ message }}
    ... on PythonError {{ message stack }}
  }}
}}"""
# Rows are metadata of outputs, which GraphQL has only in the run's events, a thousand at most in one answer.
_OUTPUTS = """
eventConnection(afterCursor: $after, limit: $limit) {
  events {
    __typename
    ... on ExecutionStepOutputEvent { stepKey metadataEntries { label ... on IntMetadataEntry { intValue } } }
  }
  cursor
  hasMore
}"""
_RUN_QUERY = """
query RunQuery($runId: ID!, $after: String, $limit: Int) {
  runOrError(runId: $runId) {
    ... on Run { %s }
    ... on RunNotFoundError { message }
    ... on PythonError { message stack }
  }
}"""
RUN_QUERY = _RUN_QUERY % (_RUN + " stats { ... on RunStatsSnapshot { stepsSucceeded stepsFailed } }" + _OUTPUTS)
NODES_QUERY = _RUN_QUERY % (
    "executionPlan { steps { key } } stepStats { stepKey status startTime endTime attempts { startTime endTime } }"
    + _OUTPUTS
)
OUTPUTS_QUERY = _RUN_QUERY % _OUTPUTS
LOG_QUERY = """
query LogsForRun($runId: ID!, $after: String, $limit: Int) {
  logsForRun(runId: $runId, afterCursor: $after, limit: $limit) {
    ... on EventConnection {
      events { __typename ... on MessageEvent { message timestamp level stepKey } }
      cursor
      hasMore
    }
    ... on RunNotFoundError { message }
    ... on PythonError { message stack }
  }
}"""
_NODE_STATUS = {"SUCCESS": "succeeded", "FAILURE": "failed", "SKIPPED": "skipped", "IN_PROGRESS": "running"}


class GraphQlReader:
    """GraphQL, through a client of the webserver."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def page(self, query: PageQuery) -> Reading[RunFacts]:
        """Ask for a page of runs. GraphQL compares the creation, not the start."""
        wished = {
            "pipelineName": query.job_name,
            "statuses": query.dagster_statuses or None,
            "createdAfter": query.since.timestamp() if query.since else None,
            "createdBefore": query.until.timestamp() if query.until else None,
        }
        body = runs_question({name: value for name, value in wished.items() if value is not None}, cursor=query.after)
        return Reading(
            fetch=lambda: self._client.post("/graphql", body),
            tell=lambda answer: [_run(run) for run in answer["data"]["runsOrError"]["results"]],
        )

    def run(self, dagster_id: str) -> Reading[RunDetailFacts]:
        """Ask for a run in full: with its rows, which takes all of its events."""
        return Reading(fetch=lambda: self._with_outputs(RUN_QUERY, dagster_id), tell=lambda pages: [_detail(pages)])

    def nodes(self, dagster_id: str) -> Reading[NodeFacts]:
        """Ask for the nodes of a run, with their rows."""
        return Reading(fetch=lambda: self._with_outputs(NODES_QUERY, dagster_id), tell=_nodes)

    def log(self, dagster_id: str, *, after: str | None = None) -> Reading[LineFacts]:
        """Ask for a page of a run's log behind a cursor of Dagster's."""
        return Reading(fetch=lambda: [self._log_page(dagster_id, after=after)], tell=_lines)

    def log_of_node(self, dagster_id: str, *, node: str) -> Reading[LineFacts]:
        """Ask for a page of a node's log: GraphQL can't choose, so all pages are read until there is enough of it."""

        def fetch() -> list[Any]:
            pages = [self._log_page(dagster_id, after=None)]
            found = 0
            while True:
                found += sum(_is_line(event) and event["stepKey"] == node for event in pages[-1]["events"])
                if found >= LOG_PAGE or not pages[-1]["hasMore"]:
                    return pages
                pages.append(self._log_page(dagster_id, after=pages[-1]["cursor"]))

        return Reading(
            fetch=fetch, tell=lambda pages: [line for line in _lines(pages) if line.node_id == node][:LOG_PAGE]
        )

    def _log_page(self, dagster_id: str, *, after: str | None) -> Any:
        values = {"runId": dagster_id, "after": after, "limit": LOG_PAGE}
        return self._client.post("/graphql", {"query": LOG_QUERY, "variables": values})["data"]["logsForRun"]

    def _with_outputs(self, query: str, dagster_id: str) -> list[Any]:
        pages: list[Any] = []
        after = None
        while True:
            values = {"runId": dagster_id, "after": after, "limit": LOG_PAGE}
            answer = self._client.post("/graphql", {"query": OUTPUTS_QUERY if pages else query, "variables": values})
            pages.append(answer["data"]["runOrError"])
            after = pages[-1]["eventConnection"]["cursor"]
            if not pages[-1]["eventConnection"]["hasMore"]:
                return pages


def runs_question(filter_by: dict[str, Any], *, cursor: str | None = None) -> dict[str, Any]:
    """Return the body that asks for a page of runs."""
    return {"query": RUNS_QUERY, "variables": {"limit": PAGE, "cursor": cursor, "filter": filter_by}}


def _run(run: dict[str, Any]) -> RunFacts:
    return run_facts(
        dagster_id=run["runId"],
        status=run["status"],
        tags={tag["key"]: tag["value"] for tag in run["tags"]},
        started_at=run["startTime"],
        finished_at=run["endTime"],
    )


def _detail(pages: list[Any]) -> RunDetailFacts:
    counts = _row_counts(pages)
    nodes = [
        NodeFacts(node_id=step, status="", started_at=None, finished_at=None, **rows) for step, rows in counts.items()
    ]
    read, written = row_totals(nodes)
    return RunDetailFacts(run=_run(pages[0]), queued_at=pages[0]["creationTime"], rows_read=read, rows_written=written)


def _nodes(pages: list[Any]) -> list[NodeFacts]:
    counts = _row_counts(pages)
    stats = {step["stepKey"]: step for step in pages[0]["stepStats"]}
    return [
        NodeFacts(
            node_id=key,
            status=_NODE_STATUS[stats[key]["status"]],
            started_at=stats[key]["startTime"],
            finished_at=stats[key]["endTime"],
            **counts[key],
        )
        for key in (step["key"] for step in pages[0]["executionPlan"]["steps"])
    ]


def _row_counts(pages: list[Any]) -> dict[str, dict[str, int | None]]:
    return {
        event["stepKey"]: row_counts(
            {entry["label"]: entry["intValue"] for entry in event["metadataEntries"] if "intValue" in entry}
        )
        for page in pages
        for event in page["eventConnection"]["events"]
        if event["__typename"] == "ExecutionStepOutputEvent"
    }


def _is_line(event: dict[str, Any]) -> bool:
    return bool(event["__typename"] == "LogMessageEvent")


def _lines(pages: list[Any]) -> list[LineFacts]:
    return [
        LineFacts(node_id=event["stepKey"], message=event["message"], logged_at=int(event["timestamp"]) / 1000)
        for page in pages
        for event in page["events"]
        if _is_line(event)
    ]
