"""Runs in environments: other connections, other values, other executors, and never none by mistake."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dagster import (
    DagsterInstance,
    DagsterInvalidConfigError,
    DagsterRun,
    DagsterRunStatus,
    ExecuteInProcessResult,
    JobDefinition,
)
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from planasonix_orchestrator.contract.metadata import ENVIRONMENTS, PIPELINES
from planasonix_orchestrator.contract.tags import ENVIRONMENT_ID
from planasonix_orchestrator.dagster_defs.repository import build_job_of_document, load_repository
from planasonix_orchestrator.errors import InvalidDocumentError
from planasonix_orchestrator.settings import PIPELINES_VARIABLE, STATE_VARIABLE
from tests.conftest import open_instance
from tests.dagster_defs.pipelines import (
    Document,
    causes_of,
    document,
    events_of,
    execute,
    log_of,
    node,
    published,
    settings_of,
)

CONNECTIONS = """
connections:
  conn_a: {type: duckdb, path: prod.duckdb}
  conn_test: {type: duckdb, path: test.duckdb}
"""
ENVIRONMENTS_TEXT = """
default: test
variables: {region: eu, least: 9}
environments:
  test:
    name: Test
    variables: {least: 1, api_token: hush}
    connections: {conn_a: conn_test}
    executor: {type: in_process}
  prod:
    maxConcurrentRuns: 3
    executor: {maxParallelNodes: 2}
"""
NUMBERS = "n\n0\n1\n2\n3\n"
DOCUMENT = document(
    [
        node("in", "source.csv", path="numbers.csv"),
        node("some", "filter", expression="n >= {{ least }} AND '{{ region }}' = 'eu'"),
        node("out", "destination.duckdb", connectionId="conn_a", table="numbers"),
    ],
    ("in", "some"),
    ("some", "out"),
    variables={
        "least": {"type": "integer", "default": 2, "description": "The least."},
        "region": {},
        "api_token": {"default": None},
    },
    maxConcurrentRuns=1,
    timeoutSeconds=3600,
    executor={"type": "threads"},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pipeline, two connections and two environments."""
    (tmp_path / "connections.yaml").write_text(CONNECTIONS)
    (tmp_path / "environments.yaml").write_text(ENVIRONMENTS_TEXT)
    (tmp_path / "numbers.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "numbers.csv").write_text(NUMBERS)
    return tmp_path


def job_in(folder: Path) -> JobDefinition:
    """The repository's job of the pipeline."""
    return load_repository(settings_of(folder)).get_job("numbers")


def config_of(environment: str | None = None, **variables: Any) -> dict[str, Any]:
    """A run config that names an environment and sets variables."""
    named = {"pipeline": {"config": {"environment": environment}}} if environment else {}
    return {"resources": {**named, "variables": {"config": variables}}}


def run_in(folder: Path, environment: str | None = None, **variables: Any) -> ExecuteInProcessResult:
    return execute(job_in(folder), run_config=config_of(environment, **variables))


def rows(file: Path) -> list[int] | None:
    """What a database holds; None if there is none."""
    if not file.exists():
        return None
    with duckdb.connect(str(file), read_only=True) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n").fetchall()]


def test_a_run_uses_the_connections_and_values_of_its_environment(folder: Path) -> None:
    """Those of the environment that it names; the pipeline's default and the global value where that has none."""
    assert run_in(folder, "prod").success
    assert (rows(folder / "prod.duckdb"), rows(folder / "test.duckdb")) == ([2, 3], None)


def test_a_run_that_names_no_environment_is_in_the_default_one(folder: Path) -> None:
    """The environment's value comes before the pipeline's default, and what is written says where it went."""
    result = run_in(folder)
    assert (rows(folder / "prod.duckdb"), rows(folder / "test.duckdb")) == (None, [1, 2, 3])
    (event,) = events_of(result, "ASSET_MATERIALIZATION")
    assert event.asset_key is not None
    assert event.asset_key.path == ["conn_test", "main", "numbers"]


def test_what_is_given_to_a_run_wins(folder: Path) -> None:
    """Before the environment, the default and the global value; a null is as if nothing were given."""
    assert run_in(folder, "test", least=3, region=None).success
    assert rows(folder / "test.duckdb") == [3]


def test_without_environments_nothing_is_different(folder: Path) -> None:
    """The folder has no such file: the connections are those that the document names."""
    (folder / "environments.yaml").unlink()
    assert run_in(folder, region="eu").success
    assert rows(folder / "prod.duckdb") == [2, 3]
    job = job_in(folder)
    assert job.run_config is not None
    assert job.run_config["resources"] == {"variables": {"config": {"least": 2, "region": None, "api_token": None}}}


def test_the_launchpad_shows_the_environment_and_leaves_values_to_it(folder: Path) -> None:
    """It opens with the default environment; a variable that an environment may set stands there as null."""
    job = job_in(folder)
    assert job.run_config is not None
    assert job.run_config["resources"] == {
        "variables": {"config": {"least": None, "region": None, "api_token": None}},
        "pipeline": {"config": {"environment": "test"}},
    }
    schema: Any = job.resource_defs["variables"].config_schema.as_field().config_type
    descriptions = {name: field.description for name, field in schema.fields.items()}
    assert descriptions["least"] == "The least. null: the environment's value, else 2."
    assert descriptions["region"] == "Required, where neither the environment nor the global variables have a value."


def test_a_run_from_the_launchpad_is_tagged_and_told(folder: Path) -> None:
    """It says afterwards in which environment it was and what it got from there; what looks like a secret is masked."""
    with DagsterInstance.ephemeral() as instance:
        result = execute(job_in(folder), run_config=config_of("test"), instance=instance)
        run = instance.get_run_by_id(result.run_id)
        told = [text for _, text in log_of(instance, result.run_id) if text.startswith("Environment")]
    assert run is not None
    assert run.tags[ENVIRONMENT_ID] == "test"
    assert told == ['Environment test: least = 1, region = "eu", api_token = "***"; conn_test in place of conn_a']


def test_a_run_that_is_tagged_already_is_left_alone(folder: Path) -> None:
    """Whoever started it has resolved its variables, too: they stand in its config."""
    with DagsterInstance.ephemeral() as instance:
        tags = {ENVIRONMENT_ID: "test"}
        result = execute(job_in(folder), run_config=config_of("test"), tags=tags, instance=instance)
        assert not [text for _, text in log_of(instance, result.run_id) if text.startswith("Environment")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("conn_a: conn_test", "conn_a: conn_tset"), "environment 'test' has problems in environments.yaml"),
        (("default: test", "default: tset"), "environment 'tset' does not exist (known: test, prod)"),
        (("default:", "defualt:"), "the environments can't be read: environments.yaml has problems"),
        (("least: 1", "least: x"), "variable 'least': the environment's value \"x\" is not a whole number"),
    ],
)
def test_a_run_never_goes_on_in_another_environment(folder: Path, change: tuple[str, str], message: str) -> None:
    """Where its own can't be had, or has no value for it, it fails before any node, and says why."""
    (folder / "environments.yaml").write_text(ENVIRONMENTS_TEXT.replace(*change))
    result = run_in(folder)
    assert not result.success
    (event,) = events_of(result, "PIPELINE_FAILURE")
    assert message in causes_of(event.job_failure_data.error)
    assert (rows(folder / "prod.duckdb"), rows(folder / "test.duckdb")) == (None, None)


def test_dagster_refuses_an_environment_that_there_is_not(folder: Path) -> None:
    """In the launchpad as everywhere, before there is a run; those that there are, are named."""
    with pytest.raises(DagsterInvalidConfigError, match=r"environment \(test, prod\) got gone"):
        run_in(folder, "gone")


def test_a_job_is_not_built_beside_environments_that_can_not_be_read(folder: Path) -> None:
    """The error is that of the file, with its place."""
    data = job_in(folder).metadata["document"].value
    assert isinstance(data, Mapping)
    (folder / "environments.yaml").write_text("environments: [")
    with pytest.raises(InvalidDocumentError, match=r"environments\.yaml:1:16: .*\[invalid_yaml\]"):
        build_job_of_document(data, settings=settings_of(folder))


def test_environments_and_limits_are_published(folder: Path) -> None:
    """The API finds what `contract.resolution` takes, and how runs of each pipeline go on."""
    repository = load_repository(settings_of(folder))
    environments = published(repository, ENVIRONMENTS)
    assert environments == {
        "variables": {"region": "eu", "least": 9},
        "default": "test",
        "environments": [
            {
                "id": "test",
                "name": "Test",
                "variables": {"least": 1, "api_token": "hush"},
                "connections": {"conn_a": "conn_test"},
                "maxConcurrentRuns": None,
                "executor": {"type": "in_process", "maxParallelNodes": None},
            },
            {
                "id": "prod",
                "name": "prod",
                "variables": {},
                "connections": {},
                "maxConcurrentRuns": 3,
                "executor": {"type": None, "maxParallelNodes": 2},
            },
        ],
        "faulty": [],
        "readable": True,
    }
    (pipeline,) = published(repository, PIPELINES)
    assert (pipeline["maxConcurrentRuns"], pipeline["timeoutSeconds"]) == (1, 3600)
    assert pipeline["executor"] == {"type": "threads", "maxParallelNodes": None}
    assert pipeline["requiredVariables"] == ["region"]
    assert repository.get_job("numbers").tags["dagster/max_runtime"] == "3600"


@pytest.fixture
def instance(tmp_path: Path, dagster_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    """An instance that other processes can open."""
    home = tmp_path / "home"
    home.mkdir()
    config = {"storage": {"postgres": {"postgres_url": {"env": "SOME_POSTGRES_URL"}}}, "telemetry": {"enabled": False}}
    (home / "dagster.yaml").write_text(json.dumps(config))
    monkeypatch.setenv("SOME_POSTGRES_URL", dagster_url)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with open_instance(home) as instance:
        yield instance


def finished(
    pipeline: Document, folder: Path, instance: DagsterInstance, config: Mapping[str, Any]
) -> tuple[DagsterRun, str]:
    """A run in this process, as a run's own process executes it: the run at its end, and what the executor says."""
    job = build_job_of_document(pipeline, settings=settings_of(folder))
    run = instance.create_run_for_job(job, run_config=config)
    for _ in execute_run_iterator(InMemoryJob(job), run, instance):
        pass
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    messages = [record.user_message for record in instance.all_logs(run.run_id)]
    return ended, next(text for text in messages if text.startswith("Executing steps"))


def with_executor(config: dict[str, Any], **executor: Any) -> dict[str, Any]:
    return {**config, "execution": {"config": executor}}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (config_of("prod"), "up to 2 at once"),
        (config_of("test"), "Executing steps in process (pid:"),
        (with_executor(config_of("test"), type="threads", maxParallelNodes=5), "up to 5 at once"),
    ],
)
def test_the_executor_is_that_of_run_environment_or_pipeline(
    folder: Path, instance: DagsterInstance, config: dict[str, Any], said: str
) -> None:
    """The most specific word counts, key by key."""
    run, executing = finished(DOCUMENT, folder, instance, config)
    assert run.status is DagsterRunStatus.SUCCESS
    assert said in executing
    assert ("at once" in executing) == ("at once" in said)


@pytest.mark.stack
def test_a_node_in_a_process_of_its_own_builds_the_job_of_its_document(
    folder: Path, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the run's process has built the job so, and nothing of it stands in the folder."""
    monkeypatch.setenv(PIPELINES_VARIABLE, str(folder))
    monkeypatch.setenv(STATE_VARIABLE, str(folder / ".state"))
    pipeline = document([node("in", "source.csv", path="{{ file }}.csv")], variables={"file": {"default": "numbers"}})
    run, executing = finished(pipeline, folder, instance, with_executor(config_of("prod"), type="multiprocess"))
    assert run.status is DagsterRunStatus.SUCCESS
    assert "Executing steps using multiprocess executor" in executing
