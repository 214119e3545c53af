"""What a trigger has seen and decided, in tables of ours beside Dagster's: they outlive every process."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Arrival

RUN_KEY = "dagster/run_key"
Connect = Callable[[], AbstractContextManager[Connection]]

# Of one poll, so that it stays quick, and what Dagster stores of it stays small. No batch is larger.
MOST_RUNS, MOST_FILES = 100, 10_000
FORGET_AFTER = timedelta(days=30)
_UNREAD = -1
# Under this advisory lock the API makes its tables in the same schema (api_adapter/records/schema.py).
_LOCK = 0x706C6E78


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that one run is started for. The id says which, and when that was decided: the run's key in Dagster."""

    batch_id: str
    paths: tuple[str, ...]


class Record:
    """The record of one trigger. Not for several threads at once; other processes may work on the same."""

    def __init__(self, trigger_id: str) -> None:
        self._trigger_id = trigger_id
        self._known: dict[str, str] = {}
        self._revision = _UNREAD

    def read_known(self, connect: Connect) -> Mapping[str, str]:
        """Return the last known versions of files, by path. They are read anew only if another process changed them."""
        with connect() as connection:
            if connection.scalar(_TABLES_EXIST) is None:
                _make_tables(connect)
            revision = connection.scalar(_REVISION, {"trigger_id": self._trigger_id}) or 0
            if revision != self._revision:
                rows = connection.execute(_KNOWN, {"trigger_id": self._trigger_id})
                self._known = {row.path: row.version for row in rows}
                self._revision = revision
        return self._known

    def begin(self, place: str, *, ignoring: Iterable[Arrival], connect: Connect, at: float) -> bool:
        """Take it down that the place has been looked at; False if it was already.

        If not, what is to be ignored is known from now on, without a run.
        """
        with _transaction(connect) as connection:
            places, revision = self._lock(connection)
            if place in places:
                return False
            known = list(ignoring)
            self._insert(connection, known, batches=[None] * len(known), at=at)
            connection.execute(_BEGIN_PLACE, {"trigger_id": self._trigger_id, "place": place})
            connection.execute(_NEXT_REVISION, {"trigger_id": self._trigger_id})
        self._learn(known, locked_at=revision)
        return True

    def decide(self, batches: Sequence[Sequence[Arrival]], *, connect: Connect, at: float) -> None:
        """Give each arrival that is not known to its batch, for good; what is known starts no further run."""
        with _transaction(connect) as connection:
            _, revision = self._lock(connection)
            known = self._known_among([arrival for batch in batches for arrival in batch], connection=connection)
            fresh = [[each for each in batch if (each.path, each.version) not in known] for batch in batches]
            fresh = [batch for batch in fresh if batch]
            decided = [_batch(batch, trigger_id=self._trigger_id, at=at) for batch in fresh]
            self._insert(
                connection,
                [arrival for batch in fresh for arrival in batch],
                batches=[batch.batch_id for batch in decided for _ in batch.paths],
                at=at,
            )
            if decided:
                connection.execute(_ADD_BATCHES, {"trigger_id": self._trigger_id, **_rows(decided)})
            connection.execute(_NEXT_REVISION, {"trigger_id": self._trigger_id})
        self._learn([arrival for batch in batches for arrival in batch], locked_at=revision)

    def open_batches(self, connect: Connect) -> Sequence[Batch]:
        """Return the oldest of the batches that have no run yet, as many as one evaluation may ask for.

        A run that Dagster has made but not put into its queue counts for none: asked again, Dagster goes on with it.
        """
        parameters = {"trigger_id": self._trigger_id, "runs": MOST_RUNS, "files": MOST_FILES}
        with connect() as connection:
            connection.execute(_CLOSE_BATCHES, parameters)
            rows = connection.execute(_OPEN_BATCHES, parameters)
            return [Batch(batch_id, tuple(paths)) for batch_id, paths in rows]

    def tidy(self, versions: Mapping[str, str], *, connect: Connect, at: float) -> None:
        """Forget the versions that have been gone for `FORGET_AFTER`. `versions` are those that there are, by path."""
        now = datetime.fromtimestamp(at, UTC)
        parameters = {
            "trigger_id": self._trigger_id,
            "paths": list(versions),
            "versions": list(versions.values()),
            "now": now,
            "before": now - FORGET_AFTER,
        }
        with _transaction(connect) as connection:
            self._lock(connection)
            connection.execute(_MARK_GONE, parameters)
            connection.execute(_MARK_BACK, parameters)
            if connection.execute(_FORGET, parameters).rowcount:
                connection.execute(_NEXT_REVISION, parameters)

    def _lock(self, connection: Connection) -> tuple[Sequence[str], int]:
        """Keep other processes from deciding for this trigger, and return its places and its revision."""
        connection.execute(_ADD_TRIGGER, {"trigger_id": self._trigger_id})
        places, revision = connection.execute(_LOCK_TRIGGER, {"trigger_id": self._trigger_id}).one()
        return places, revision

    def _known_among(self, arrivals: Sequence[Arrival], *, connection: Connection) -> set[tuple[str, str]]:
        rows = connection.execute(_KNOWN_AMONG, {"trigger_id": self._trigger_id, **_columns(arrivals)})
        return {(path, version) for path, version in rows}

    def _insert(
        self, connection: Connection, arrivals: Sequence[Arrival], *, batches: Sequence[str | None], at: float
    ) -> None:
        if arrivals:
            parameters = {"trigger_id": self._trigger_id, **_columns(arrivals), "batches": batches}
            connection.execute(_INSERT, {**parameters, "at": datetime.fromtimestamp(at, UTC)})

    def _learn(self, arrivals: Iterable[Arrival], *, locked_at: int) -> None:
        """Take what was committed into memory, unless another process has committed more before."""
        self._known.update((arrival.path, arrival.version) for arrival in arrivals)
        self._revision = locked_at + 1 if self._revision == locked_at else _UNREAD


def _batch(arrivals: Sequence[Arrival], *, trigger_id: str, at: float) -> Batch:
    made_of = hashlib.sha256(f"{at}\0".encode())  # what was forgotten and comes again is another batch
    for arrival in sorted(arrivals, key=lambda each: each.path):
        made_of.update(f"{arrival.path}\0{arrival.version}\0".encode())
    return Batch(f"{trigger_id}:{made_of.hexdigest()[:32]}", tuple(arrival.path for arrival in arrivals))


def _rows(batches: Sequence[Batch]) -> dict[str, Any]:
    return {
        "batches": [batch.batch_id for batch in batches],
        "counts": [len(batch.paths) for batch in batches],
        "paths": [json.dumps(batch.paths) for batch in batches],
    }


def _columns(arrivals: Sequence[Arrival]) -> dict[str, list[str]]:
    return {"paths": [each.path for each in arrivals], "versions": [each.version for each in arrivals]}


@contextmanager
def _transaction(connect: Connect) -> Iterator[Connection]:
    with connect() as connection:
        # Dagster's connections commit each statement by itself.
        transactional = connection.execution_options(isolation_level="READ COMMITTED")
        with transactional.begin():
            yield transactional


def _make_tables(connect: Connect) -> None:
    """Make our tables, unless another process has done so meanwhile."""
    with _transaction(connect) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        for statement in _TABLES:
            connection.exec_driver_sql(statement)


# `number` counts rows up in the order in which they came. The key stands for path and version, which can be longer
# than what Postgres takes into an index. A version that was ignored, or waits no longer, has no batch.
_TABLES = (
    "CREATE SCHEMA IF NOT EXISTS planasonix",
    """
    CREATE TABLE IF NOT EXISTS planasonix.arrival_triggers (
        trigger_id text PRIMARY KEY,
        revision bigint NOT NULL DEFAULT 0,
        places text[] NOT NULL DEFAULT '{}'
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS planasonix.arrivals (
        trigger_id text NOT NULL REFERENCES planasonix.arrival_triggers ON DELETE CASCADE,
        key bytea NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        path text NOT NULL,
        version text NOT NULL,
        batch_id text,
        decided_at timestamptz NOT NULL,
        gone_at timestamptz,
        PRIMARY KEY (trigger_id, key)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS planasonix.arrival_batches (
        trigger_id text NOT NULL REFERENCES planasonix.arrival_triggers ON DELETE CASCADE,
        batch_id text NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        files integer NOT NULL,
        paths jsonb NOT NULL,
        PRIMARY KEY (trigger_id, batch_id)
    )
    """,
)
_TABLES_EXIST = text("SELECT to_regclass('planasonix.arrival_batches')")
_REVISION = text("SELECT revision FROM planasonix.arrival_triggers WHERE trigger_id = :trigger_id")
_KNOWN = text("SELECT path, version FROM planasonix.arrivals WHERE trigger_id = :trigger_id ORDER BY number")
_ADD_TRIGGER = text(
    "INSERT INTO planasonix.arrival_triggers (trigger_id) VALUES (:trigger_id) ON CONFLICT (trigger_id) DO NOTHING"
)
_LOCK_TRIGGER = text(
    "SELECT places, revision FROM planasonix.arrival_triggers WHERE trigger_id = :trigger_id FOR UPDATE"
)
_BEGIN_PLACE = text(
    "UPDATE planasonix.arrival_triggers SET places = array_append(places, :place) WHERE trigger_id = :trigger_id"
)
_NEXT_REVISION = text("UPDATE planasonix.arrival_triggers SET revision = revision + 1 WHERE trigger_id = :trigger_id")
_THESE = "unnest(CAST(:paths AS text[]), CAST(:versions AS text[])) AS these (path, version)"
_KEY = r"sha256(convert_to(these.path || E'\n' || these.version, 'UTF8'))"
_KNOWN_AMONG = text(
    f"SELECT these.path, these.version FROM {_THESE} JOIN planasonix.arrivals"  # noqa: S608  (names of ours)
    f" ON arrivals.trigger_id = :trigger_id AND arrivals.key = {_KEY}"
)
_INSERT = text(
    "INSERT INTO planasonix.arrivals (trigger_id, key, path, version, batch_id, decided_at)"  # noqa: S608
    f" SELECT :trigger_id, {_KEY}, these.path, these.version, these.batch_id, :at"
    " FROM unnest(CAST(:paths AS text[]), CAST(:versions AS text[]), CAST(:batches AS text[]))"
    "   AS these (path, version, batch_id)"
    " ON CONFLICT (trigger_id, key) DO NOTHING"
)
_ADD_BATCHES = text(
    "INSERT INTO planasonix.arrival_batches (trigger_id, batch_id, files, paths)"
    " SELECT :trigger_id, batch_id, files, CAST(paths AS jsonb)"
    " FROM unnest(CAST(:batches AS text[]), CAST(:counts AS integer[]), CAST(:paths AS text[]))"
    "   WITH ORDINALITY AS these (batch_id, files, paths, place)"
    " ORDER BY place"
)
# LATERAL with LIMIT has Postgres look up each key in the index of the tags, however many runs there are.
_CLOSE_BATCHES = text(
    "DELETE FROM planasonix.arrival_batches WHERE trigger_id = :trigger_id AND batch_id IN ("
    "  SELECT oldest.batch_id"
    "  FROM (SELECT batch_id FROM planasonix.arrival_batches WHERE trigger_id = :trigger_id"
    "        ORDER BY number LIMIT 10 * :runs) AS oldest"
    "  CROSS JOIN LATERAL (SELECT 1 FROM run_tags JOIN runs ON runs.run_id = run_tags.run_id"
    "    WHERE run_tags.key = :run_key AND run_tags.value = oldest.batch_id AND runs.status <> 'NOT_STARTED'"
    "    LIMIT 1) AS run)"
).bindparams(run_key=RUN_KEY)
_OPEN_BATCHES = text(
    "SELECT batch_id, paths FROM ("
    "  SELECT oldest.*, sum(files) OVER (ORDER BY number) AS files_so_far"
    "  FROM (SELECT * FROM planasonix.arrival_batches WHERE trigger_id = :trigger_id"
    "        ORDER BY number LIMIT :runs) AS oldest) AS counted"
    " WHERE files_so_far <= :files ORDER BY number"
)
_PRESENT = f"WITH present AS MATERIALIZED (SELECT {_KEY} AS key FROM {_THESE})"  # noqa: S608
_MARK_GONE = text(
    f"{_PRESENT} UPDATE planasonix.arrivals SET gone_at = :now"  # noqa: S608
    " WHERE trigger_id = :trigger_id AND gone_at IS NULL"
    "   AND NOT EXISTS (SELECT FROM present WHERE present.key = arrivals.key)"
)
_MARK_BACK = text(
    f"{_PRESENT} UPDATE planasonix.arrivals SET gone_at = NULL FROM present"  # noqa: S608
    " WHERE trigger_id = :trigger_id AND gone_at IS NOT NULL AND present.key = arrivals.key"
)
_FORGET = text("DELETE FROM planasonix.arrivals WHERE trigger_id = :trigger_id AND gone_at < :before")
