"""Our own tables: made by whoever comes first, made again when they are gone, and what they keep."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event

from api_adapter.errors import UnavailableError
from api_adapter.records import AuditEvent, AuditFilter, Records, Scope, open_records
from api_adapter.records.schema import MIGRATIONS, REVISION
from api_adapter.records.secret import MARK, is_secret, prefix_of
from api_adapter.records.webhook_calls import KEPT_FOR
from planasonix_orchestrator.contract.database import SCHEMA
from tests.conftest import superuser

NOW = datetime(2025, 3, 27, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def records(postgres_url: str) -> Iterator[Records]:
    with open_records(postgres_url) as records:
        yield records


def test_the_revision_is_the_newest_migration() -> None:
    """`REVISION`, by which a process knows that it needs no migration, is the head of the scripts."""
    scripts = ScriptDirectory.from_config(Config(attributes={}, config_args={"script_location": str(MIGRATIONS)}))
    assert scripts.get_current_head() == REVISION


def test_migrations_can_be_undone(postgres_url: str, records: Records) -> None:
    """Each step back and forth leaves tables that work."""
    records.keys.has_any(at=NOW)
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection, "schema": SCHEMA})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.downgrade(config, "base")
        command.upgrade(config, "head")
    engine.dispose()
    key, _ = records.keys.create("a", scopes=[], at=NOW)
    assert records.keys.list_all() == [key]


def test_processes_that_start_at_once_all_find_the_tables(postgres_url: str) -> None:
    """Several that come first at the same moment make the tables once, and none fails."""
    together = threading.Barrier(6)

    def first_use(_number: int) -> bool:
        with open_records(postgres_url) as records:
            together.wait()
            return records.keys.has_any(at=NOW)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(first_use, range(6))) == [False] * 6


def test_tables_that_are_gone_are_made_again(postgres_url: str, records: Records) -> None:
    """After the schema was dropped under a running process, its next use finds empty tables."""
    records.keys.create("a", scopes=[Scope.PIPELINES_READ], at=NOW)
    with superuser(postgres_url) as cursor:
        cursor.execute("DROP SCHEMA planasonix CASCADE")
    assert records.keys.list_all() == []


def test_connections_that_were_lost_while_idle_are_replaced(postgres_url: str, records: Records) -> None:
    """A restart of Postgres between two uses fails no read, no lookup and no write."""
    assert records.keys.find("plnx_live_none") is None
    end_connections(postgres_url)
    assert records.keys.find("plnx_live_none") is None
    end_connections(postgres_url)
    assert not records.keys.has_any(at=NOW)
    end_connections(postgres_url)
    records.keys.create("a", scopes=[], at=NOW)
    assert records.keys.has_any(at=NOW)


def end_connections(url: str) -> None:
    with superuser(url) as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'planasonix-%'"
        )


def test_a_connection_that_breaks_amid_a_statement_is_unavailable(records: Records) -> None:
    """Also where the driver says so in its most general error, as it does now and then when a server crashes."""
    records.keys.list_all()

    def cut(*_: object) -> None:
        raise psycopg2.DatabaseError("server closed the connection unexpectedly")

    event.listen(Engine, "do_execute", cut)
    try:
        with pytest.raises(UnavailableError):
            records.keys.list_all()
    finally:
        event.remove(Engine, "do_execute", cut)
    assert records.keys.list_all() == []


def test_tables_of_a_later_program_are_refused(postgres_url: str, records: Records) -> None:
    """A revision that this program does not know is not touched."""
    records.keys.has_any(at=NOW)
    with superuser(postgres_url) as cursor:
        cursor.execute("UPDATE planasonix.alembic_version SET version_num = '9999'")
    with open_records(postgres_url) as later, pytest.raises(UnavailableError):
        later.keys.has_any(at=NOW)


def test_a_user_who_may_not_make_the_schema_is_told_so(
    postgres_url: str, postgres_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the right to create a schema the answer is 503, and the log names the grant."""
    with superuser(postgres_url) as cursor:
        cursor.execute("CREATE ROLE powerless LOGIN")
    try:
        with open_records(as_powerless(postgres_url)) as records, pytest.raises(UnavailableError):
            records.keys.has_any(at=NOW)
    finally:
        with superuser(postgres_server) as cursor:
            cursor.execute("DROP ROLE powerless")
    assert "GRANT CREATE ON DATABASE" in caplog.text


def as_powerless(url: str) -> str:
    return url.replace("postgres:@", "powerless:@")


def test_a_database_that_is_away_is_unavailable() -> None:
    """Nothing but `UnavailableError` tells that nobody is there."""
    with open_records("postgresql://postgres:@127.0.0.1:1/none") as records, pytest.raises(UnavailableError):
        records.keys.has_any(at=NOW)


def test_a_key_comes_back_as_it_was_made(records: Records) -> None:
    """What is stored of a key is all but its secret, which has the documented form."""
    key, secret = records.keys.create(
        "nightly", scopes=[Scope.PIPELINES_READ], pipeline_ids={"pl_b", "pl_a"}, expires_at=NOW + HOUR, at=NOW
    )
    assert is_secret(secret)
    assert len(secret) == len(MARK) + 43
    assert key.id.startswith("key_")
    assert secret.startswith(key.prefix)
    assert secret not in repr(key)
    assert records.keys.find(prefix_of(secret)) == key
    assert records.keys.list_all() == [key]
    assert key.pipeline_ids == ("pl_a", "pl_b")


def test_no_secret_is_stored(postgres_url: str, records: Records) -> None:
    """Nowhere in the table stands more of a secret than its prefix."""
    key, secret = records.keys.create("a", scopes=[], at=NOW)
    records.keys.rotate(key.id, grace=HOUR, at=NOW)
    with superuser(postgres_url) as cursor:
        cursor.execute("SELECT k::text FROM planasonix.api_keys k")
        stored = cursor.fetchall()
    assert prefix_of(secret) in str(stored)
    assert secret[len(prefix_of(secret)) :] not in str(stored)


def test_a_key_is_valid_until_it_expires_or_is_revoked(records: Records) -> None:
    """At the moment of its expiry a key is no longer valid; a revoked one never again."""
    key, secret = records.keys.create("a", scopes=[], expires_at=NOW + HOUR, at=NOW)
    assert key.accepts(secret, at=NOW)
    assert not key.accepts(secret, at=NOW + HOUR)
    revoked = records.keys.revoke(key.id, at=NOW)
    assert revoked is not None
    assert not revoked.accepts(secret, at=NOW)
    assert records.keys.revoke(key.id, at=NOW + HOUR) == revoked
    assert records.keys.revoke("key_none", at=NOW) is None


def test_rotation_with_grace_keeps_the_former_secret_for_a_while(records: Records) -> None:
    """Both secrets open the key until the grace is over; then only the new one does."""
    key, old = records.keys.create("a", scopes=[], at=NOW)
    rotated = records.keys.rotate(key.id, grace=HOUR, at=NOW)
    assert rotated is not None
    _, new = rotated
    for secret, expected in ((old, [True, False]), (new, [True, True])):
        found = records.keys.find(prefix_of(secret))
        assert found is not None
        assert found.id == key.id
        assert [found.accepts(secret, at=at) for at in (NOW, NOW + HOUR)] == expected
    prefixes = {prefix_of(old), prefix_of(new), "plnx_live_unknown"}
    assert records.keys.valid_prefixes(prefixes, at=NOW) == {prefix_of(old), prefix_of(new)}
    assert records.keys.valid_prefixes(prefixes, at=NOW + HOUR) == {prefix_of(new)}


def test_rotation_without_grace_ends_the_former_secret_at_once(records: Records) -> None:
    """Nothing is left of the secret that was replaced; what can't be used can't be rotated."""
    key, old = records.keys.create("a", scopes=[], at=NOW)
    assert records.keys.rotate(key.id, at=NOW) is not None
    assert records.keys.find(prefix_of(old)) is None
    records.keys.revoke(key.id, at=NOW)
    assert records.keys.rotate(key.id, at=NOW) is None
    assert records.keys.valid_prefixes([key.prefix], at=NOW) == frozenset()


def test_the_last_use_is_exact_to_a_minute(records: Records) -> None:
    """A use is written only if the one before is a minute old."""
    key, _ = records.keys.create("a", scopes=[], at=NOW)
    written = []
    for seconds in (0, 30, 60, 61):
        records.keys.touch(key.id, at=NOW + timedelta(seconds=seconds))
        written.append(records.keys.list_all()[0].last_used_at)
    assert written == [NOW, NOW, NOW + timedelta(seconds=60), NOW + timedelta(seconds=60)]


def test_the_audit_trail_is_read_newest_first(records: Records) -> None:
    """Events are filtered by actor, kind of action and time, and paged by id; one without an end has no status."""
    for number, (action, actor) in enumerate([("run.start", "a"), ("run.cancel", "b"), ("key.create", "a")]):
        event = AuditEvent(
            at=NOW + number * HOUR, actor_kind="key", actor_id=f"key_{actor}", actor_name=actor, action=action
        )
        event_id = records.audit.begin(event)
        if number < 2:
            records.audit.finish(event_id, status=202, detail={"runId": "run_x"})

    def actions(filter_by: AuditFilter, *, limit: int = 10, before: int | None = None) -> list[str]:
        return [event.action for event in records.audit.list_events(filter_by, limit=limit, before=before)]

    events = records.audit.list_events(AuditFilter(), limit=10)
    assert [event.status for event in events] == [None, 202, 202]
    assert events[2].detail == {"runId": "run_x"}
    assert actions(AuditFilter(), limit=1) == ["key.create"]
    assert actions(AuditFilter(), before=events[0].id) == ["run.cancel", "run.start"]
    assert actions(AuditFilter(actor="key_b")) == actions(AuditFilter(actor="b")) == ["run.cancel"]
    assert actions(AuditFilter(action="run")) == ["run.cancel", "run.start"]
    assert actions(AuditFilter(action="run.start")) == ["run.start"]
    assert actions(AuditFilter(since=NOW + HOUR)) == ["key.create", "run.cancel"]
    assert actions(AuditFilter(until=NOW + HOUR)) == ["run.start"]


def test_a_call_is_for_one_event(records: Records) -> None:
    """What was signed stands for the event that it came with first, or for none; by trigger, in every process."""
    calls = records.webhook_calls
    assert calls.claim("trg_a", digest="1", event_id="x", at=NOW)
    assert calls.claim("trg_a", digest="1", event_id="x", at=NOW)
    assert not calls.claim("trg_a", digest="1", event_id="y", at=NOW)
    assert not calls.claim("trg_a", digest="1", event_id=None, at=NOW)
    assert calls.claim("trg_b", digest="1", event_id="y", at=NOW)
    assert calls.claim("trg_a", digest="2", event_id=None, at=NOW)
    assert calls.claim("trg_a", digest="2", event_id=None, at=NOW)
    assert not calls.claim("trg_a", digest="2", event_id="x", at=NOW)


def test_of_many_who_claim_a_call_at_once_one_event_wins(postgres_url: str, records: Records) -> None:
    """Several processes that are sent the same call under different events agree on one of them."""
    together = threading.Barrier(6)

    def claim(event_id: str) -> bool:
        with open_records(postgres_url) as others:
            together.wait()
            return others.webhook_calls.claim("trg_a", digest="1", event_id=event_id, at=NOW)

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(claim, "abcdef")) == [False] * 5 + [True]


def test_calls_that_count_no_more_are_forgotten(records: Records) -> None:
    """Each minute, those older than any signature that is still accepted; the others stay."""
    calls = records.webhook_calls
    for minutes in range(40):
        assert calls.claim("trg_a", digest=str(minutes), event_id=None, at=NOW + timedelta(minutes=minutes))
    assert calls.count() == KEPT_FOR / timedelta(minutes=1) + 1
    assert not calls.claim("trg_a", digest="35", event_id="x", at=NOW + timedelta(minutes=39))
