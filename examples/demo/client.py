"""The demo's side of the Runs API: start a run, watch its nodes, read how it went."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

FINISHED = frozenset({"succeeded", "failed", "canceled"})
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_PER_RUN = 300
SECONDS_FOR_A_TRIGGER = 60

Json = dict[str, Any]


class ApiError(Exception):
    """The API refused a request; the message is the API's own."""


class Client:
    """The calls of the API that the demo makes."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def wait_for_pipelines(self, ids: set[str], *, seconds: float = 60) -> None:
        """Return when the API lists all these pipelines; `ApiError` if it does not within the time."""
        deadline = time.monotonic() + seconds
        while missing := ids - {pipeline["id"] for pipeline in self._get("/api/pipelines")["data"]}:
            if time.monotonic() > deadline:
                raise ApiError(f"the API does not list {', '.join(sorted(missing))}")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def start(self, pipeline_id: str, *, variables: Mapping[str, str | int]) -> str:
        """Start a run of the pipeline and return its id."""
        answer = self._http.post(f"/api/pipelines/{pipeline_id}/run", json={"variables": dict(variables)})
        return str(_checked(answer)["runId"])

    def watch(self, run_id: str) -> Iterator[tuple[Json, list[Json]]]:
        """Yield the run and its nodes again and again, the last time when the run has finished."""
        deadline = time.monotonic() + SECONDS_PER_RUN
        while True:
            run = self._get(f"/api/runs/{run_id}")
            yield run, self._get(f"/api/runs/{run_id}/nodes")["nodes"]
            if run["status"] in FINISHED:
                return
            if time.monotonic() > deadline:
                raise ApiError(f"{run_id} has not finished after {SECONDS_PER_RUN} s, it is {run['status']}")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def wait_for_run(self, pipeline_id: str, *, trigger: str, after: str | None) -> Json:
        """Return the newest run of a pipeline that was started so, once it is another one than `after`."""
        deadline = time.monotonic() + SECONDS_FOR_A_TRIGGER
        while True:
            page = self._get(f"/api/runs?pipelineId={pipeline_id}&trigger={trigger}&limit=1")["data"]
            if page and page[0]["id"] != after:
                return self._get(f"/api/runs/{page[0]['id']}")
            if time.monotonic() > deadline:
                raise ApiError(f"no run of {pipeline_id} has started within {SECONDS_FOR_A_TRIGGER} s")
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def newest_run(self, pipeline_id: str) -> str | None:
        """Return the id of the newest run of a pipeline, if it has any."""
        page = self._get(f"/api/runs?pipelineId={pipeline_id}&limit=1")["data"]
        return str(page[0]["id"]) if page else None

    def next_fires(self, schedule_id: str) -> list[str]:
        """Return when a schedule fires next."""
        attributes: Json = self._get(f"/api/schedules/{schedule_id}?preview=3")["data"]["attributes"]
        return [str(fire["at"]) for fire in attributes["preview"]]

    def logs(self, run_id: str) -> list[Json]:
        """Return the first page of a run's log lines."""
        lines: list[Json] = self._get(f"/api/runs/{run_id}/logs")["lines"]
        return lines

    def _get(self, path: str) -> Json:
        return _checked(self._http.get(path))


def _checked(answer: httpx.Response) -> Json:
    if answer.is_error:
        raise ApiError(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
    body: Json = answer.json()
    return body
