"""`planasonix show`: a run in full, and its nodes."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from api_adapter.commands.display import (
    STATUS_STYLES,
    rate_of,
    rows_of,
    show_facts,
    show_json,
    show_rows,
    state_of,
    told_bytes,
    told_count,
    told_duration,
    told_second,
)
from api_adapter.commands.finding import RunId
from api_adapter.commands.options import json_option, service_option
from api_adapter.commands.service import opened_client

Json = Mapping[str, Any]

_TITLES = ("NODE", "TYPE", "STATUS", "ROWS", "ROWS/S", "STARTED", "TOOK", "ATTEMPTS", "ERROR")


@click.command("show")
@click.argument("run_id", type=RunId(), metavar="RUN")
@service_option
@json_option
@click.pass_context
def show_command(context: click.Context, *, run_id: str, state: Path | None, as_json: bool) -> None:
    """Show a run: what started it, how it went, its figures and nodes."""
    with opened_client(context, state=state) as client:
        run, nodes = client.read_run(run_id), client.read_nodes(run_id)
    if as_json:
        show_json({**run, "nodes": nodes})
        return
    show_facts(list(_facts(run)), styles={"status": STATUS_STYLES.get(run["status"], "")})
    click.echo()
    terminal = sys.stdout.isatty()
    rows = [_cells(node, apart=terminal) for node in nodes]
    width = len(_TITLES) - (terminal and not any(row[-1] for row in rows))  # columns in a pipe never change
    show_rows(
        _TITLES[:width],
        [row[:width] for row in rows],
        cell_styles={"STATUS": STATUS_STYLES},
        right=("ROWS", "ROWS/S", "TOOK", "ATTEMPTS"),
    )


def _facts(run: Json) -> Iterator[tuple[str, str]]:
    """Yield what there is to know of a run, by name; nothing of what it has not."""
    facts = {
        "run": run["id"],
        "pipeline": f"{run['pipelineName']} ({run['pipelineId']})",
        "version": run["pipelineVersion"],
        "status": run["status"],
        "started by": _trigger_words(run["trigger"]),
        "retry of": run["retryOf"],
        "environment": run["environmentId"],
        "variables": "\n".join(f"{name}={_value_words(value)}" for name, value in run["variables"].items()),
        "queued": told_second(run["queuedAt"]),
        "started": told_second(run["startedAt"]),
        "finished": told_second(run["finishedAt"]),
        "took": told_duration(run["durationSeconds"]),
        "cancel": _cancel_words(run),
        **_figures(run["metrics"]),
        **_error_facts(run),
    }
    yield from ((name, value) for name, value in facts.items() if value)


def _trigger_words(trigger: Json) -> str:
    """Return the kind of trigger and what there is to know of it."""
    return " ".join([trigger["type"], *(f"{name}={value}" for name, value in trigger.items() if name != "type")])


def _value_words(value: object) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _cancel_words(run: Json) -> str:
    words = [
        f"asked for by {run['cancelRequestedBy']}" if run["cancelRequestedBy"] else "",
        f"at {told_second(run['cancelRequestedAt'])}" if run["cancelRequestedAt"] else "",
        f"canceled by {run['canceledBy']}" if run["canceledBy"] else "",
    ]
    return " ".join(word for word in words if word)


def _figures(metrics: Json) -> Mapping[str, str]:
    """Return the figures by name; rows also where there were none, the others only where there is something."""
    words = {"bytesRead": "read", "bytesWritten": "written", "bytesShuffled": "kept between nodes"}
    told = [f"{told_bytes(metrics[name])} {word}" for name, word in words.items() if metrics[name]]
    return {
        "rows read": told_count(metrics["rowsRead"]),
        "rows written": told_count(metrics["rowsWritten"]),
        "bytes": ", ".join(told),
        "cpu": told_duration(metrics["cpuSeconds"] or None),
        "peak memory": told_bytes(metrics["peakMemoryBytes"]) if metrics["peakMemoryBytes"] else "",
        "cost": f"{metrics['costUnits']:g} units" if metrics["costUnits"] else "",
    }


def _error_facts(run: Json) -> Mapping[str, str]:
    error = run["error"]
    if error is None:
        return {}
    where = f" of {error['nodeId']}" if error["nodeId"] else ""
    return {"error": f"{error['code']}{where}: {error['message']}"}


def _cells(node: Json, *, apart: bool) -> Sequence[str]:
    return [
        node["nodeId"],
        node["type"],
        state_of(node),
        told_count(rows_of(node), apart=apart),
        told_count(rate_of(node), apart=apart),
        told_second(node["startedAt"]),
        told_duration(node["durationSeconds"]),
        str(len(node["attempts"])),
        node["error"]["message"] if node["error"] else "",
    ]
