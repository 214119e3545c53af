"""The demo: start the stack, run three pipelines over 336,776 flights through the API, check all results, stop.

The exit code is 0 only if every node's row counts and every result are those of hand-written queries.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console

from examples.demo.client import ApiError, Client
from examples.demo.data import OUTPUT, PIPELINES, MissingDataPackageError, prepare_data
from examples.demo.display import nodes_table, rows_table, show_json, show_progress
from examples.demo.expected import Expected
from examples.demo.stack import Stack, StackError, running_stack

MINIMUM_FLIGHTS = 5000
# In this order: the last one reads what the first has written.
RUNS: tuple[tuple[str, dict[str, str | int]], ...] = (
    ("pl_on_time_performance", {}),
    ("pl_weather_and_delays", {}),
    ("pl_carrier_ranking", {"minimum_flights": MINIMUM_FLIGHTS}),
)


def main() -> int:
    """Run the demo and return the exit code."""
    console = Console() if sys.stdout.isatty() else Console(width=120)
    signal.signal(signal.SIGTERM, _stop)
    try:
        data = prepare_data()[0].parent
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
    wrong: list[str] = []
    with stack.client() as http:
        client = Client(http)
        client.wait_for_pipelines({pipeline_id for pipeline_id, _ in RUNS})
        for pipeline_id, variables in RUNS:
            console.print(f"POST /api/pipelines/{pipeline_id}/run", style="bold", highlight=False)
            run_id = client.start(pipeline_id, variables=variables)
            run, nodes = show_progress(client.watch(run_id), console=console)
            console.print(f"GET /api/runs/{run_id}", style="bold", highlight=False)
            show_json(run, console=console)
            console.print(nodes_table(nodes, title=f"GET /api/runs/{run_id}/nodes"))
            if run["status"] != "succeeded":
                wrong.append(f"{pipeline_id}: the run {run['status']}: {run['error']}")
                break
            for node_id, counts in expected.counts(pipeline_id).items():
                told = next((_counts(node) for node in nodes if node["nodeId"] == node_id), None)
                if told != counts:
                    wrong.append(f"{pipeline_id}: {node_id} reports rows (in, out) {told}, must be {counts}")
            results = expected.results(pipeline_id)
            wrong += [f"{pipeline_id}: {result.place} is not what it must be" for result in results if not result.right]
            first = results[0]
            console.print(rows_table(first.columns, rows=first.rows[:5], title=f"{first.place}, first rows"), "")
    return wrong


def _counts(node: dict[str, dict[str, int | None]]) -> tuple[int | None, int | None]:
    metrics = node.get("metrics") or {}
    return metrics.get("rowsIn"), metrics.get("rowsOut")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
