"""What starts runs by itself, as Dagster has it: the schedules and sensors of the code location, and their switches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from api_adapter.control.code_location import DagsterConnection, Loaded, dagster_errors
from api_adapter.control.dagster_api import (
    InstigatorState,
    InstigatorTick,
    InstigatorType,
    RemoteSchedule,
    RemoteSensor,
    SensorInstigatorData,
    SerializableErrorInfo,
    TickStatus,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What Dagster's daemon has made of a schedule or trigger at some time, and why, where it started nothing."""

    id: int
    at: datetime
    ended_at: datetime | None
    outcome: Literal["started", "skipped", "failed", "underway"]
    reason: str | None
    runs: int


class Switches:
    """The switches of schedules and triggers, which Dagster keeps: a reload of the code does not touch them."""

    def __init__(self, connection: DagsterConnection) -> None:
        self._connection = connection

    def read(self, kind: SwitchKind, ids: Sequence[str]) -> Mapping[str, Switch]:
        """Return those of these ids that are loaded, by id, as they are now; `UnavailableError`."""
        loaded = self._connection.loaded()
        remotes = {id_: remote for id_ in ids if (remote := _find(loaded, kind=kind, id_=id_)) is not None}
        stored = self._stored(kind, list(remotes.values()))
        found = {}
        for id_, remote in remotes.items():
            state = remote.get_current_instigator_state(stored.get(remote.selector_id))
            found[id_] = Switch(id=id_, enabled=state.is_running, selector_id=remote.selector_id, cursor=_cursor(state))
        return found

    def last_evaluation(self, kind: SwitchKind, id_: str) -> Evaluation | None:
        """Return what the daemon has last made of one; None if it never looked, or it is not loaded."""
        found = self._evaluations(kind, id_, limit=1)
        return found[0] if found else None

    def failed_evaluations(
        self, kind: SwitchKind, id_: str, *, limit: int, before: datetime | None = None
    ) -> Sequence[Evaluation]:
        """Return at most `limit` evaluations of one that have failed, newest first; none if it is not loaded."""
        return self._evaluations(kind, id_, limit=limit, before=before, statuses=[TickStatus.FAILURE])

    def _evaluations(
        self,
        kind: SwitchKind,
        id_: str,
        *,
        limit: int,
        before: datetime | None = None,
        statuses: Sequence[TickStatus] | None = None,
    ) -> Sequence[Evaluation]:
        remote = _find(self._connection.loaded(), kind=kind, id_=id_)
        if remote is None:
            return ()
        with dagster_errors():
            ticks = self._connection.instance().get_ticks(
                remote.get_remote_origin_id(),
                remote.selector_id,
                before=before.timestamp() if before else None,
                limit=limit,
                statuses=statuses,
            )
        return [_evaluation(tick) for tick in ticks]

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

    def _stored(
        self, kind: SwitchKind, remotes: Sequence[RemoteSchedule | RemoteSensor]
    ) -> Mapping[str, InstigatorState]:
        """Return what Dagster has stored of these, by their keys: of a single one without reading all the others."""
        instance = self._connection.instance()
        with dagster_errors():
            if len(remotes) == 1:
                found = instance.get_instigator_state(remotes[0].get_remote_origin_id(), remotes[0].selector_id)
                states = [found] if found else []
            else:
                states = list(instance.all_instigator_state(instigator_type=_TYPES[kind]))
        return {state.selector_id: state for state in states}


def _cursor(state: InstigatorState) -> str | None:
    data = state.instigator_data
    return data.cursor if isinstance(data, SensorInstigatorData) else None


def _find(loaded: Loaded, *, kind: SwitchKind, id_: str) -> RemoteSchedule | RemoteSensor | None:
    name = encode_name(id_)
    repository = loaded.repository
    if kind == "schedule":
        return repository.get_schedule(name) if repository.has_schedule(name) else None
    return repository.get_sensor(name) if repository.has_sensor(name) else None


_OUTCOMES: Mapping[TickStatus, Literal["started", "skipped", "failed", "underway"]] = {
    TickStatus.SUCCESS: "started",
    TickStatus.SKIPPED: "skipped",
    TickStatus.FAILURE: "failed",
    TickStatus.STARTED: "underway",
}


def _evaluation(tick: InstigatorTick) -> Evaluation:
    reason = _first_cause(tick.error).message if tick.error else tick.skip_reason
    return Evaluation(
        id=int(tick.tick_id),
        at=datetime.fromtimestamp(tick.timestamp, UTC),
        ended_at=None if tick.end_timestamp is None else datetime.fromtimestamp(tick.end_timestamp, UTC),
        outcome=_OUTCOMES[tick.status],
        reason=reason.strip() if reason else None,
        runs=len(tick.run_ids),
    )


def _first_cause(error: SerializableErrorInfo) -> SerializableErrorInfo:
    """Return what Dagster has wrapped into the news that an evaluation has failed."""
    while error.cause is not None:
        error = error.cause
    return error
