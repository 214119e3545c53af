"""A typed Python client, generated from the OpenAPI document as users would, against the running service."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
from dagster import DagsterInstance

from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api import served
from tests.api.conftest import admin_key
from tests.api.making import execute

PACKAGE = "planasonix_generated"


@pytest.fixture(scope="module")
def generated(reader: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package, generated without a single warning and importable."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_bytes(reader.get("/openapi.json").content)
    binaries = Path(sys.executable).parent
    command = [str(binaries / "openapi-python-client"), "generate", "--path", "openapi.json", "--meta", "none"]
    subprocess.run(
        [*command, "--output-path", PACKAGE, "--fail-on-warning"],
        cwd=folder,
        env={**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"},  # it formats with ruff
        check=True,
        capture_output=True,
    )
    sys.path.insert(0, str(folder))
    try:
        yield folder / PACKAGE
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def typed_client(generated: Path, client: httpx.Client, database_url: str) -> Iterator[Any]:
    module = import_module(f"{PACKAGE}.client")
    with module.AuthenticatedClient(base_url=str(client.base_url).rstrip("/"), token=admin_key(database_url)) as typed:
        yield typed


def operation(resource: str, name: str) -> Any:
    """An operation's module, as the generator names it."""
    return import_module(f"{PACKAGE}.api.{resource}.{name}")


@pytest.mark.stack
def test_every_operation_has_a_function(generated: Path, client: httpx.Client) -> None:
    """Each operation of the document is a module of its own, named after its id."""
    paths = client.get("/openapi.json").json()["paths"].values()
    ids = {operation["operationId"] for path in paths for operation in path.values()}
    modules = {path.stem.replace("_", "") for path in generated.glob("api/*/*.py") if path.stem != "__init__"}
    assert {name.lower() for name in ids} == modules


@pytest.mark.stack
def test_runs_are_read_as_typed_objects(typed_client: Any, instance: DagsterInstance) -> None:
    """Lists, records, nodes and logs arrive as objects with the fields' own types."""
    run_id = encode_run_id(execute(served.crm_to_warehouse, instance=instance))
    page = operation("runs", "list_runs").sync(client=typed_client, pipeline_id="pl_crm", limit=1)
    assert page.data[0].id == run_id
    run = operation("runs", "get_run").sync(run_id, client=typed_client)
    assert (run.status.value, run.trigger.type_.value, run.metrics.rows_read) == ("succeeded", "manual", 7)
    assert run.finished_at > run.started_at  # they are datetimes
    nodes = operation("runs", "list_run_nodes").sync(run_id, client=typed_client).nodes
    assert [len(node.attempts) for node in nodes] == [1, 1, 2]
    lines = operation("logs", "list_run_logs").sync(run_id, client=typed_client).lines
    assert lines[-1].message == "Run succeeded"
    stats = operation("runs", "get_run_stats").sync(client=typed_client, pipeline_id="pl_crm")
    assert stats.by_status.succeeded >= 1


@pytest.mark.stack
def test_a_run_is_started_and_canceled(typed_client: Any) -> None:
    """Starting and canceling work, and a failure is an object of the one error shape."""
    models = import_module(f"{PACKAGE}.models")
    start = operation("pipelines", "start_run")
    accepted = start.sync("pl_slow", client=typed_client, body=models.RunRequest())
    answer = operation("runs", "cancel_run").sync(accepted.run_id, client=typed_client)
    assert (answer.id, answer.status.value) == (accepted.run_id, "cancel_requested")
    refused = operation("runs", "get_run").sync("run_unknown", client=typed_client)
    assert refused.error.code == "run_not_found"
