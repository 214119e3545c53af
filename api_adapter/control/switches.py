"""What starts runs by itself, as Dagster has it: the schedules and sensors of the code location, and their switches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from api_adapter.control.code_location import DagsterConnection, Loaded, dagster_errors
from api_adapter.control.dagster_api import (
    InstigatorState,
    InstigatorType,
    RemoteSchedule,
    RemoteSensor,
    SensorInstigatorData,
)
from planasonix_orchestrator.contract.names import encode_name

SwitchKind = Literal["schedule", "trigger"]
_TYPES: Mapping[SwitchKind, InstigatorType] = {
    "schedule": InstigatorType.SCHEDULE,
    "trigger": InstigatorType.SENSOR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A schedule or trigger that the code location has loaded: whether it is on, and Dagster's key to its ticks.

    `cursor` is what a trigger's sensor keeps between its looks, None if it has not looked yet.
    """

    id: str
    enabled: bool
    selector_id: str
    cursor: str | None = None


class Switches:
    """The switches of schedules and triggers, which Dagster keeps: a reload of the code does not touch them."""

    def __init__(self, connection: DagsterConnection) -> None:
        self._connection = connection

    def read(self, kind: SwitchKind, ids: Sequence[str]) -> Mapping[str, Switch]:
        """Return those of these ids that are loaded, by id, as they are now; `UnavailableError`."""
        loaded = self._connection.loaded()
        with dagster_errors():
            states = self._connection.instance().all_instigator_state(instigator_type=_TYPES[kind])
        stored = {state.selector_id: state for state in states}
        found = {}
        for id_ in ids:
            remote = _find(loaded, kind=kind, id_=id_)
            if remote is not None:
                state = remote.get_current_instigator_state(stored.get(remote.selector_id))
                found[id_] = Switch(
                    id=id_, enabled=state.is_running, selector_id=remote.selector_id, cursor=_cursor(state)
                )
        return found

    def switch(self, kind: SwitchKind, id_: str, *, on: bool) -> Switch | None:
        """Turn one on or off, for good; None if it is not loaded. What it has started goes on."""
        remote = _find(self._connection.loaded(), kind=kind, id_=id_)
        if remote is None:
            return None
        instance = self._connection.instance()
        with dagster_errors():
            if isinstance(remote, RemoteSchedule):
                state = (
                    instance.start_schedule(remote)
                    if on
                    else instance.stop_schedule(remote.get_remote_origin_id(), remote.selector_id, remote)
                )
            else:
                state = (
                    instance.start_sensor(remote)
                    if on
                    else instance.stop_sensor(remote.get_remote_origin_id(), remote.selector_id, remote)
                )
        return Switch(id=id_, enabled=state.is_running, selector_id=remote.selector_id)


def _cursor(state: InstigatorState) -> str | None:
    data = state.instigator_data
    return data.cursor if isinstance(data, SensorInstigatorData) else None


def _find(loaded: Loaded, *, kind: SwitchKind, id_: str) -> RemoteSchedule | RemoteSensor | None:
    name = encode_name(id_)
    repository = loaded.repository
    if kind == "schedule":
        return repository.get_schedule(name) if repository.has_schedule(name) else None
    return repository.get_sensor(name) if repository.has_sensor(name) else None
