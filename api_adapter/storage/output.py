"""Where the raw output of a run's processes was captured, as Dagster's event log tells it."""

from collections.abc import Sequence
from dataclasses import dataclass

from api_adapter.storage.database import Connection
from api_adapter.storage.events import Event
from api_adapter.storage.lines import node_of
from api_adapter.storage.story import CAPTURE_EVENTS, read_story


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One process's output: the key of its file among those of its run, and the nodes that the process ran."""

    file_key: str
    node_ids: tuple[str, ...]


def read_captures(connection: Connection, *, run_id: str, node_id: str | None) -> Sequence[Capture]:
    """Return the captures of a run, or those of the processes that ran a node, in the order in which they began."""
    events = read_story(connection, run_id=run_id, types=CAPTURE_EVENTS)
    found = (_capture(told.event) for told in events)
    wanted = {
        capture.file_key: capture for capture in found if capture and node_id in (None, *capture.node_ids)
    }  # by key: a process that tries a step again goes on in the same file
    return list(wanted.values())


def _capture(event: Event) -> Capture | None:
    # Serialized under its former name; dagster._core.events.ComputeLogsCaptureData.
    key = event.data.get("log_key") or event.data.get("file_key")
    steps = event.data.get("step_keys") or ()
    nodes = dict.fromkeys(node_of(step) for step in steps)
    return Capture(file_key=str(key), node_ids=tuple(node for node in nodes if node)) if key else None
