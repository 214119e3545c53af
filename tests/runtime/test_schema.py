"""Dagster's tables: made once, whole, or told why not."""

import os
from collections.abc import Mapping
from pathlib import Path

import psycopg2
import pytest

from planasonix_orchestrator.runtime.errors import PartError
from planasonix_orchestrator.runtime.parts import write_dagster_home
from planasonix_orchestrator.runtime.schema import make_schema
from planasonix_orchestrator.settings import Settings

pytestmark = pytest.mark.stack  # they work for seconds


@pytest.fixture
def environment(tmp_path: Path, postgres_url: str) -> Mapping[str, str]:
    settings = Settings(state=tmp_path, pipelines=tmp_path, postgres_url=postgres_url)
    write_dagster_home(settings)
    return {
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        "PLANASONIX_POSTGRES_URL": postgres_url,
        "PLANASONIX_STATE": str(tmp_path),
    }


def test_an_empty_database_is_given_all_tables(environment: Mapping[str, str], postgres_url: str) -> None:
    """What each part asks first is there: revision, runs, events, ticks, heartbeats."""
    make_schema(environment)
    with psycopg2.connect(postgres_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM alembic_version, (SELECT count(*) FROM runs) AS runs")
        assert cursor.fetchone() == (1,)
        cursor.execute("SELECT FROM event_logs, job_ticks, daemon_heartbeats, snapshots, kvs, instance_info LIMIT 0")
    connection.close()


def test_a_database_with_tables_is_left_alone(environment: Mapping[str, str]) -> None:
    """At once: with a Dagster home that does not exist, Dagster itself could not even be opened."""
    make_schema(environment)
    make_schema({**environment, "DAGSTER_HOME": "/nowhere"})


def test_what_goes_wrong_is_told_without_the_password(environment: Mapping[str, str]) -> None:
    """A database that is away, and a Dagster home that does not exist."""
    away = "postgresql://me:s3cret@127.0.0.1:1/none"
    with pytest.raises(PartError, match=r"Dagster's tables \(connection to server") as caught:
        make_schema({**environment, "PLANASONIX_POSTGRES_URL": away})
    assert "s3cret" not in str(caught.value)
    with pytest.raises(PartError, match=r"Dagster's tables \(.*/nowhere"):
        make_schema({**environment, "DAGSTER_HOME": "/nowhere"})
