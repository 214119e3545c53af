"""The demo: start the stack, run the pipelines over 336,776 flights through the API, check all results, stop.

Three are started by hand, two by a file that arrives. The exit code is 0 only if every node's row counts and every
result are those of hand-written queries.
"""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from rich.console import Console

from examples.demo.arrival import drop_file, empty_inbox
from examples.demo.client import ApiError, Client
from examples.demo.data import OUTPUT, PIPELINES, MissingDataPackageError, prepare_data
from examples.demo.display import nodes_table, rows_table, show_json, show_progress
from examples.demo.expected import Expected
from examples.demo.stack import Stack, StackError, running_stack

MINIMUM_FLIGHTS = 5000
MOST_COLUMNS = 8  # of a result, as it is shown
# In this order: the last one reads what the first has written.
RUNS: tuple[tuple[str, dict[str, str | int]], ...] = (
    ("pl_on_time_performance", {}),
    ("pl_weather_and_delays", {}),
    ("pl_carrier_ranking", {"minimum_flights": MINIMUM_FLIGHTS}),
)
# What a file causes: the first watches for it, the second for the success of the first.
CHAIN = ("pl_daily_flights", "pl_daily_delays_by_airport")
SCHEDULE = "sch_on_time_performance_daily"


def main() -> int:
    """Run the demo and return the exit code."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    signal.signal(signal.SIGTERM, _stop)
    try:
        data = prepare_data()[0].parent
        empty_inbox()
        console.print("Starting the stack: Postgres, Dagster's code server, daemon and UI, the API ...")
        with running_stack(pipelines=PIPELINES, state=Path(".planasonix/demo").absolute()) as stack:
            console.print(f"Dagster UI {stack.dagster_url}\nRuns API   {stack.api_url}/api/runs\n", highlight=False)
            wrong = _run_all(stack, data=data, console=console)
    except (ApiError, StackError, MissingDataPackageError, httpx.HTTPError) as error:
        console.print(f"The demo failed: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    for line in wrong:
        console.print(line, style="red", markup=False)
    if not wrong:
        console.print("All row counts and results equal those of the hand-written queries.", style="green")
        console.print("The stack is stopped. `make up` keeps one running with the same pipelines.")
    return 1 if wrong else 0


def _run_all(stack: Stack, *, data: Path, console: Console) -> list[str]:
    expected = Expected(data=data, output=OUTPUT, postgres_url=stack.postgres_url, minimum_flights=MINIMUM_FLIGHTS)
    with stack.client() as http:
        client = Client(http)
        client.wait_for_pipelines({*(pipeline_id for pipeline_id, _ in RUNS), *CHAIN})
        for pipeline_id, variables in RUNS:
            console.print(f"POST /api/pipelines/{pipeline_id}/run", style="bold", highlight=False)
            run_id = client.start(pipeline_id, variables=variables)
            if wrong := list(_see_through(client, run_id, pipeline_id, expected=expected, console=console)):
                return wrong
        fires = ", ".join(client.next_fires(SCHEDULE))
        console.print(f"GET /api/schedules/{SCHEDULE}?preview=3", style="bold", highlight=False)
        console.print(f"  pl_on_time_performance runs again at {fires}\n", highlight=False)
        return _follow_file(client, data=data, expected=expected, console=console)


def _follow_file(client: Client, *, data: Path, expected: Expected, console: Console) -> list[str]:
    """Drop a file, and see the runs through that it causes."""
    before = {pipeline_id: client.newest_run(pipeline_id) for pipeline_id in CHAIN}
    file, dropped = drop_file(data), time.time()
    console.print(f"A file arrives: {file}", style="bold", highlight=False)
    for pipeline_id in CHAIN:
        run = client.wait_for_run(pipeline_id, trigger="sensor", after=before[pipeline_id])
        told = ", ".join(f"{name} {value}" for name, value in run["trigger"].items())
        console.print(f"{run['id']} of {pipeline_id} after {time.time() - dropped:.1f} s: {told}", highlight=False)
        if wrong := list(_see_through(client, run["id"], pipeline_id, expected=expected, console=console)):
            return wrong
    return []


def _see_through(
    client: Client, run_id: str, pipeline_id: str, *, expected: Expected, console: Console
) -> Iterator[str]:
    """Show a run to its end, and yield what is not as it must be."""
    run, nodes = show_progress(client.watch(run_id), console=console)
    console.print(f"GET /api/runs/{run_id}", style="bold", highlight=False)
    show_json(run, console=console)
    console.print(nodes_table(nodes, title=f"GET /api/runs/{run_id}/nodes"))
    if run["status"] != "succeeded":
        yield f"{pipeline_id}: the run {run['status']}: {run['error']}"
        return
    for node_id, counts in expected.counts(pipeline_id).items():
        told = next((_counts(node) for node in nodes if node["nodeId"] == node_id), None)
        if told != counts:
            yield f"{pipeline_id}: {node_id} reports rows (in, out) {told}, must be {counts}"
    results = expected.results(pipeline_id)
    for result in results:
        if not result.right:
            yield f"{pipeline_id}: {result.place} is not what it must be"
    first = results[0]
    rows = [row[:MOST_COLUMNS] for row in first.rows[:5]]
    console.print(rows_table(first.columns[:MOST_COLUMNS], rows=rows, title=f"{first.place}, first rows"), "")


def _counts(node: dict[str, Any]) -> tuple[int | None, int | None]:
    metrics = node.get("metrics") or {}
    return metrics.get("rowsIn"), metrics.get("rowsOut")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
