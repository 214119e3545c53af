"""The built-in node types in a real job: files to Postgres and back, and secrets that stay secret."""

from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, JobDefinition, serialize_value

from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.dagster_defs.repository import load_repository
from tests.dagster_defs.pipelines import events_of, execute, failure_of, metadata_of, published, settings_of

SECRET = "kept-to-itself-4711"
VARIABLE = "TEST_DAGSTER_DEFS_URL"
CONNECTIONS = f"connections: {{conn_pg: {{type: postgres, url: {{env: {VARIABLE}}}}}}}"
LOAD = """
id: pl_load
name: load
nodes:
  - {id: read, type: source.csv, config: {path: ../contacts.csv}}
  - {id: kept, type: filter, config: {expression: "id < {{ below }}"}}
  - {id: table, type: destination.postgres, config: {connectionId: conn_pg, table: crm.contacts, mode: truncate}}
  - {id: file, type: destination.parquet, config: {path: ../out/contacts.parquet}}
edges:
  - {source: read, target: kept}
  - {source: kept, target: table}
  - {source: kept, target: file}
variables: {below: {type: integer, default: 3}}
"""
READ_BACK = """
id: pl_back
name: back
nodes:
  - {id: table, type: source.postgres, config: {connectionId: conn_pg, table: crm.contacts}}
  - {id: file, type: destination.csv, config: {path: ../out/back.csv}}
edges: [{source: table, target: file}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pipelines, one of which reads back what the other wrote."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "connections.yaml").write_text(CONNECTIONS)
    (folder / "load.yaml").write_text(LOAD)
    (folder / "back.yaml").write_text(READ_BACK)
    (tmp_path / "contacts.csv").write_text("id,name\n1,Zoë\n2,\n3,Ann\n")
    return folder


def with_password(url: str, password: str) -> str:
    """The URL with a password, which the test's server does not ask for."""
    scheme, _, rest = url.partition("://")
    user, _, place = rest.partition("@")
    return f"{scheme}://{user.partition(':')[0]}:{password}@{place}"


def job_named(folder: Path, name: str) -> JobDefinition:
    """A job of the folder's repository."""
    repository = load_repository(settings_of(folder))
    assert published(repository, metadata.PROBLEMS) == []
    return repository.get_job(name)


def test_files_go_to_postgres_and_back(folder: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, figures and assets are right on the way to a table and back, and no secret is recorded anywhere."""
    monkeypatch.setenv(VARIABLE, with_password(postgres_url, SECRET))
    with DagsterInstance.ephemeral() as instance:
        loaded = execute(job_named(folder, "load"), instance=instance)
        back = execute(job_named(folder, "back"), instance=instance)
        assert loaded.success
        assert back.success
        record = recorded(instance, loaded.run_id) + recorded(instance, back.run_id)
    assert (folder.parent / "out" / "back.csv").read_text().splitlines()[1:] == ["1,Zoë", "2,"]
    assert metadata_of(loaded, "read")[metadata.ROWS_OUT] == 3
    assert metadata_of(loaded, "table")[metadata.ROWS_IN] == 2
    assert metadata_of(back, "table")[metadata.ROWS_OUT] == 2
    assert {event.asset_key for event in events_of(loaded, "ASSET_MATERIALIZATION")} == {
        AssetKey(["conn_pg", "crm", "contacts"]),
        AssetKey(["out", "contacts.parquet"]),
    }
    assert SECRET not in record


def test_errors_hold_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that can't be reached is told without the URL's password."""
    monkeypatch.setenv(VARIABLE, f"postgresql://someone:{SECRET}@127.0.0.1:1/nowhere")
    with DagsterInstance.ephemeral() as instance:
        result = execute(job_named(folder, "back"), instance=instance)
        assert not result.success
        assert "conn_pg" in failure_of(result, "table")
        assert SECRET not in recorded(instance, result.run_id)


def test_a_missing_secret_is_told_and_not_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the environment variable to be set."""
    monkeypatch.delenv(VARIABLE, raising=False)
    result = execute(job_named(folder, "back"))
    assert f"environment variable {VARIABLE}, which is not set" in failure_of(result, "table")


def recorded(instance: DagsterInstance, run_id: str) -> str:
    """All that Dagster has recorded of a run, as text."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    snapshot = instance.get_job_snapshot(run.job_snapshot_id or "")
    everything: list[Any] = [run, snapshot, *instance.all_logs(run_id)]
    return "".join(serialize_value(each) for each in everything)
