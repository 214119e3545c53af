"""What Dagster has recorded of a schedule: up to when its fires were seen to, its runs, and what was left out."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from dagster import DagsterInstance, DagsterRun
from sqlalchemy import Connection, bindparam, select, text

from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME, REPOSITORY_NAME
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.dagster_defs.dagster_internals import (
    PARENT_RUN_ID_TAG,
    RUN_KEY_TAG,
    SCHEDULE_NAME_TAG,
    SCHEDULED_EXECUTION_TIME_TAG,
    InstigatorSelector,
    InstigatorsTable,
    InstigatorState,
    InstigatorTick,
    InstigatorType,
    JobTickTable,
    KeyValueStoreTable,
    RunTagsTable,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
    deserialize_value,
)
from planasonix_orchestrator.dagster_defs.schedules.times import BEGINNING, Era, Rhythm

_MOMENT, _SECOND = timedelta(microseconds=1), timedelta(seconds=1)
_MOST_FAILURES = 1000
_MOST_TOLD = 100  # of the fires that were left out at once; a month of minutes would be no news to anybody
_IN_FLIGHT = ("NOT_STARTED", "QUEUED", "MANAGED", "STARTING", "STARTED", "CANCELING")
_ENDED = (TickStatus.SUCCESS, TickStatus.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run that a fire has started, under the tick of the fire `tick_at`, which may be a later one."""

    run_id: str
    tick_at: datetime


@contextmanager
def open_record(instance: DagsterInstance, *, schedule_id: str, job_name: str) -> Iterator["ScheduleRecord"]:
    """Give the record of a schedule, over one connection: Dagster's own methods would open a dozen to read as much."""
    storage: Any = instance.run_storage  # of whose database all tables are
    with storage.connect() as connection:
        yield ScheduleRecord(instance, connection, schedule_id=schedule_id, job_name=job_name)


class ScheduleRecord:
    """The record of one schedule. Keys of runs are the moments of their fires: ISO 8601 in UTC."""

    def __init__(self, instance: DagsterInstance, connection: Connection, *, schedule_id: str, job_name: str) -> None:
        self._instance = instance
        self._connection = connection
        self._id = schedule_id
        self._name = encode_name(schedule_id)
        self._job_name = job_name
        self._selector_id = InstigatorSelector(
            location_name=CODE_LOCATION_NAME, repository_name=REPOSITORY_NAME, name=self._name
        ).get_id()

    def seen_to(self, *, before: datetime) -> datetime:
        """Return the moment up to which, and including it, all fires were seen to when the fire `before` came.

        That is since it was switched on, the last tick that has come to its end, or a later look of the scheduler at
        which nothing was due. A tick that was interrupted, or found no code server, has come to none.
        """
        moments = [BEGINNING, *self._last_end(before)]
        data = self._state
        if data is not None:
            moments.append(_moment(data.start_timestamp or 0) - _MOMENT)
            looked = _moment(data.last_iteration_timestamp or 0)
            moments.append(looked if looked < before else BEGINNING)
        return max(moments)

    def eras(self, *, timezone: str) -> Sequence[Era]:
        """Return the rhythms that the schedule was last known to have had.

        Before its first fire, that is the one that it was switched on with; of its time zone nothing is known then.
        """
        stored = self._connection.execute(
            select(KeyValueStoreTable.c.value).where(KeyValueStoreTable.c.key == self._eras_key)
        ).scalar()
        if stored is None:
            cron = self._state.cron_schedule if self._state else None
            return [Era(since=BEGINNING, rhythm=Rhythm(cron=cron, timezone=timezone))] if isinstance(cron, str) else []
        told = json.loads(stored)
        rhythms = [Rhythm(cron=each["cron"], timezone=each["timezone"]) for each in told]
        sinces = [datetime.fromisoformat(each["since"]) for each in told]
        return [Era(since=since, rhythm=rhythm) for since, rhythm in zip(sinces, rhythms, strict=True)]

    def keep_eras(self, eras: Sequence[Era]) -> None:
        """Store the rhythms that the schedule has had."""
        told = [
            {"since": era.since.isoformat(), "cron": era.rhythm.cron, "timezone": era.rhythm.timezone} for era in eras
        ]
        self._instance.daemon_cursor_storage.set_cursor_values({self._eras_key: json.dumps(told)})

    def runs(self, fires: Collection[datetime]) -> Mapping[datetime, KnownRun]:
        """Return the runs that there are of these fires; not those of Dagster's UI that do one of them again."""
        self._repair_tags()
        keys = [fire.isoformat() for fire in fires]
        found = self._connection.execute(_RUNS, {"name": self._name, "keys": keys}) if keys else ()
        return {
            datetime.fromisoformat(key): KnownRun(run_id=run_id, tick_at=datetime.fromisoformat(tick_at))
            for run_id, key, tick_at in found
        }

    def run_in_flight(self) -> str | None:
        """Return the Dagster id of a run of the schedule that has not ended, started by a fire or not."""
        found: str | None = self._connection.execute(_RUN_IN_FLIGHT, {"schedule_id": self._id}).scalar()
        return found

    def settle(
        self,
        *,
        left_out: Mapping[datetime, str],
        started: Mapping[datetime, KnownRun],
        complete: bool,
        at: datetime,
    ) -> None:
        """Record what has become of fires that are older than the one at hand, `at`, as ticks of their own.

        Those that are left out become skipped ticks with their reasons; of very many, only the newest are told one by
        one. `complete`: there are no older ones. Those that an interrupted tick had started get their runs.
        """
        told = sorted(left_out)[-_MOST_TOLD:]
        complete = complete and len(told) == len(left_out)
        fires = [*told, *started]
        known = self._ticks(before=at + _SECOND, after=min(fires) - _SECOND) if fires else {}
        for fire in sorted(fires):
            tick = known.get(fire)
            if tick is None:
                tick = self._instance.create_tick(self._tick_data(fire, origin_id=known[at].instigator_origin_id))
            elif self._has_ended(tick):
                continue
            if fire in started:
                run = started[fire]
                ended = tick.with_status(TickStatus.SUCCESS).with_run_info(run.run_id, fire.isoformat())
            else:
                more = "" if complete or fire != told[0] else "; and so was every fire before it"
                ended = tick.with_status(TickStatus.SKIPPED).with_reason(skip_reason=left_out[fire] + more)
            self._instance.update_tick(ended)

    def _tick_data(self, fire: datetime, *, origin_id: str) -> TickData:
        return TickData(
            instigator_origin_id=origin_id,
            instigator_name=self._name,
            instigator_type=InstigatorType.SCHEDULE,
            status=TickStatus.STARTED,
            timestamp=fire.timestamp(),
            selector_id=self._selector_id,
        )

    @cached_property
    def _state(self) -> ScheduleInstigatorData | None:
        """What the scheduler notes of the schedule: when it was switched on, and when it last looked."""
        body = self._connection.execute(
            select(InstigatorsTable.c.instigator_body).where(InstigatorsTable.c.selector_id == self._selector_id)
        ).scalar()
        data = deserialize_value(body, InstigatorState).instigator_data if body else None
        return data if isinstance(data, ScheduleInstigatorData) else None

    @property
    def _eras_key(self) -> str:
        return f"planasonix/schedule_eras/{self._id}"

    def _last_end(self, before: datetime) -> Sequence[datetime]:
        """Return the fires of the last tick that has ended well, and of the last that has failed for good."""
        ended = self._ticks(before=before, statuses=_ENDED, limit=1)
        failed = self._ticks(
            before=before, after=max(ended, default=None), statuses=(TickStatus.FAILURE,), limit=_MOST_FAILURES
        )
        return [fire for fire, tick in (*ended.items(), *failed.items()) if self._has_ended(tick)]

    def _has_ended(self, tick: InstigatorTick) -> bool:
        if tick.status == TickStatus.FAILURE:  # of which Dagster counts those that it will not try again
            return tick.failure_count > int(getattr(self._instance.scheduler, "max_tick_retries", 0))
        return tick.status in _ENDED

    def _ticks(
        self,
        *,
        before: datetime,
        after: datetime | None = None,
        statuses: Collection[TickStatus] = tuple(TickStatus),
        limit: int | None = None,
    ) -> Mapping[datetime, InstigatorTick]:
        """Return the newest ticks by their fires, which are before one moment and after another."""
        of_schedule = JobTickTable.c.selector_id == self._selector_id
        between = [JobTickTable.c.timestamp < before]
        if after is not None:
            between.append(JobTickTable.c.timestamp > after)
        wanted = (
            select(JobTickTable.c.id, JobTickTable.c.tick_body)
            .where(of_schedule, *between, JobTickTable.c.status.in_([status.value for status in statuses]))
            .order_by(JobTickTable.c.timestamp.desc())
            .limit(limit)
        )
        rows = self._connection.execute(wanted).all()
        ticks = [InstigatorTick(tick_id, deserialize_value(body, TickData)) for tick_id, body in rows]
        return {_moment(tick.timestamp): tick for tick in ticks}

    def _repair_tags(self) -> None:
        """Give runs back the tags that a scheduler could not write any more, killed when it had just made the run.

        Dagster stores a run and its tags one after the other, and looks for the run of a fire by these tags: without
        them it would make another one. Runs that somebody else has just made may be about to get theirs.
        """
        for run_id, body in self._connection.execute(_WITHOUT_TAGS, {"job": self._job_name}).all():
            tags = deserialize_value(body, DagsterRun).tags_for_storage()
            if tags.get(SCHEDULE_NAME_TAG) == self._name and PARENT_RUN_ID_TAG not in tags:
                rows = [{"run_id": run_id, "key": key, "value": value} for key, value in tags.items()]
                self._connection.execute(RunTagsTable.insert(), rows)


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


_RUNS = text(
    "SELECT key.run_id, key.value, tick.value FROM run_tags AS key"
    " JOIN run_tags AS name ON name.run_id = key.run_id AND name.key = :schedule_name AND name.value = :name"
    " JOIN run_tags AS tick ON tick.run_id = key.run_id AND tick.key = :scheduled_execution_time"
    " WHERE key.key = :run_key AND key.value IN :keys"
    "   AND NOT EXISTS (SELECT FROM run_tags AS parent WHERE parent.run_id = key.run_id AND parent.key = :parent)"
).bindparams(
    bindparam("keys", expanding=True),
    run_key=RUN_KEY_TAG,
    schedule_name=SCHEDULE_NAME_TAG,
    scheduled_execution_time=SCHEDULED_EXECUTION_TIME_TAG,
    parent=PARENT_RUN_ID_TAG,
)
_RUN_IN_FLIGHT = text(
    "SELECT runs.run_id FROM runs JOIN run_tags ON run_tags.run_id = runs.run_id"
    " WHERE runs.status IN :statuses AND run_tags.key = :key AND run_tags.value = :schedule_id"
    " ORDER BY runs.id LIMIT 1"
).bindparams(bindparam("statuses", value=_IN_FLIGHT, expanding=True), key=tag_names.SCHEDULE_ID)
_WITHOUT_TAGS = text(
    "SELECT run_id, run_body FROM"
    " (SELECT run_id, run_body FROM runs WHERE pipeline_name = :job ORDER BY id DESC LIMIT 200) AS newest"
    " WHERE NOT EXISTS (SELECT FROM run_tags WHERE run_tags.run_id = newest.run_id)"
)
