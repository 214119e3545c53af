"""environments.yaml is loaded, and checked beside the connections and the pipelines of its folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from planasonix_orchestrator.graph.beside import LoadedEnvironments
from planasonix_orchestrator.graph.loading import LoadedFolder, load_document, load_folder

CONNECTIONS = """
connections:
  conn_pg: {type: postgres, host: h}
  conn_pg_test: {type: postgres, host: t}
  conn_file: {type: duckdb, path: f.duckdb}
  conn_broken: {type: duckdb}
"""
RIGHT = """
default: test
variables: {region: eu}
environments:
  test:
    name: Test
    variables: {limit: 5}
    connections: {conn_pg: conn_pg_test}
    maxConcurrentRuns: 2
    executor: {type: in_process}
  prod: {}
"""
DOCUMENT = {
    "id": "pl_a",
    "name": "a",
    "nodes": [{"id": "n", "type": "t"}],
    "variables": {"limit": {"type": "integer"}, "region": {}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one pipeline and some connections, of which one has a fault."""
    (tmp_path / "a.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "connections.yaml").write_text(CONNECTIONS)
    return tmp_path


def loaded(folder: Path, text: str, *, name: str = "environments.yaml") -> LoadedFolder:
    (folder / name).write_text(text)
    return load_folder(folder)


def told(found: LoadedFolder) -> list[tuple[int | None, str, str, str]]:
    """Line, code, path and message of each problem of the environments."""
    problems = [each for each in found.problems if "environments" in Path(each.file or "").name]
    return [(each.line, each.code, each.path, each.message) for each in problems]


def ids(environments: LoadedEnvironments) -> list[str]:
    return list(environments.document.environments)


def test_environments_are_loaded(folder: Path) -> None:
    """Variables, connections, the limit and the executor of each; the global values; the default."""
    found = loaded(folder, RIGHT)
    document = found.environments.document
    assert told(found) == []
    assert (document.default, document.variables, ids(found.environments)) == (
        "test",
        {"region": "eu"},
        ["test", "prod"],
    )
    test = document.environments["test"]
    assert (test.name, test.variables, test.connections) == ("Test", {"limit": 5}, {"conn_pg": "conn_pg_test"})
    assert (test.max_concurrent_runs, test.executor and test.executor.type) == (2, "in_process")


@pytest.mark.parametrize("name", ["environments.yml", "environments.json"])
def test_the_file_may_be_json(folder: Path, name: str) -> None:
    """Or have the other ending of YAML; it is no pipeline."""
    found = loaded(folder, '{"$schema": "x", "environments": {"test": {"name": "Test"}}}', name=name)
    assert (ids(found.environments), told(found), len(found.pipelines)) == (["test"], [], 1)


@pytest.mark.parametrize("text", ["", "# none yet\n", "environments:\nvariables:\ndefault:\n", "{}"])
def test_a_file_may_be_empty(folder: Path, text: str) -> None:
    """Then there are no environments, as without a file."""
    assert loaded(folder, text).environments == LoadedEnvironments()


def test_all_problems_are_told_at_once(folder: Path) -> None:
    """Each with its place: those of shape, of connections, of values beside each pipeline that declares them."""
    found = loaded(
        folder,
        """default: prdo
variables:
  limit: many
environments:
  prod:
    variables: {limit: x, region: 5, other: 1}
    maxConcurrentRuns: 0
    conections: {}
  test:
    connections:
      conn_pgg: conn_pg
      conn_pg: conn_file
      conn_file: conn_broken
    executor: {type: in_process, maxParallelNodes: 4}
  right: {}
""",
    )
    assert told(found) == [
        (1, "unknown_environment", "$.default", "the default 'prdo' is not an environment"),
        (
            3,
            "invalid_variable_value",
            "$.variables.limit",
            "the global variables: 'limit' is integer in pipeline 'pl_a', but \"many\" is not a whole number",
        ),
        (
            6,
            "invalid_variable_value",
            "$.environments.prod.variables.limit",
            "environment 'prod': 'limit' is integer in pipeline 'pl_a', but \"x\" is not a whole number",
        ),
        (
            6,
            "invalid_variable_value",
            "$.environments.prod.variables.region",
            "environment 'prod': 'region' is string in pipeline 'pl_a', but 5 is not a text (put it in quotes)",
        ),
        (
            7,
            "invalid_value",
            "$.environments.prod.maxConcurrentRuns",
            "'maxConcurrentRuns' must be greater than or equal to 1, not 0",
        ),
        (8, "unknown_field", "$.environments.prod.conections", "unknown key 'conections'"),
        (
            11,
            "unknown_connection",
            "$.environments.test.connections.conn_pgg",
            "connection 'conn_pgg' does not exist",
        ),
        (
            12,
            "wrong_connection_type",
            "$.environments.test.connections.conn_pg",
            "connection 'conn_file' is of type duckdb; 'conn_pg' is of type postgres",
        ),
        (
            14,
            "invalid_value",
            "$.environments.test.executor",
            "'executor': 'in_process' works on one node at a time: leave out 'maxParallelNodes', or use 'threads'",
        ),
    ]
    hints = {problem.path: problem.hint for problem in found.problems}
    assert hints["$.default"] == "did you mean 'prod'?"
    assert hints["$.environments.prod.conections"] == "did you mean 'connections'?"
    assert hints["$.environments.test.connections.conn_pgg"] == "did you mean 'conn_pg'?"
    assert hints["$.environments.test.connections.conn_pg"] == "of type postgres: conn_pg, conn_pg_test"
    environments = found.environments
    assert (ids(environments), environments.faulty, environments.readable) == (["right"], ("prod", "test"), True)
    assert [pipeline.document.id for pipeline in found.pipelines] == ["pl_a"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("default: [", "invalid_yaml"),
        ("- test", "invalid_value"),
        ("defualt: test\nenvironments: {test: {}}", "unknown_field"),
        ("default: 5", "invalid_value"),
        ("environments: [test]", "invalid_value"),
        ("variables: {a b: 1}", "invalid_value"),
        ("default: a\ndefault: b", "duplicate_key"),
    ],
)
def test_a_fault_outside_of_an_environment_leaves_none_sure(folder: Path, text: str, code: str) -> None:
    """Nobody can say then in which environment a run would be."""
    found = loaded(folder, text)
    assert [each[1] for each in told(found)] == [code]
    assert not found.environments.readable


def test_two_files_are_one_too_many(folder: Path) -> None:
    """Neither is preferred."""
    loaded(folder, RIGHT)
    found = loaded(folder, "{}", name="environments.json")
    assert [each[1] for each in told(found)] == ["duplicate_file"]
    assert not found.environments.readable


def test_a_binding_is_not_blamed_for_connections_that_can_not_be_read(folder: Path) -> None:
    """The file of connections has its own problem."""
    (folder / "connections.yaml").write_text("connections: [")
    assert told(loaded(folder, RIGHT)) == []


def test_a_document_at_hand_is_loaded_beside_the_environments(folder: Path) -> None:
    """As a file would be, by what stands in the folder at this moment; values of other pipelines don't matter."""
    loaded(folder, RIGHT.replace("limit: 5", "limit: x"))
    data: dict[str, Any] = {**DOCUMENT, "id": "pl_b", "variables": {"region": {}}}
    assert load_document(data, folder=folder).environments.problems == ()
    data = {**DOCUMENT, "id": "pl_b"}
    (problem,) = load_document(data, folder=folder).environments.problems
    assert "'limit' is integer in pipeline 'pl_b'" in problem.message


def test_the_environment_of_a_schedule_or_trigger_exists(folder: Path) -> None:
    """One that does not is a problem of the pipeline; one with problems of its own is told at its own place."""
    schedules = [
        {"id": f"sch_{name}", "cronExpression": "0 2 * * *", "environmentId": name} for name in ("test", "tset", "bad")
    ]
    hook = {"id": "trg_a", "triggerType": "webhook", "config": {"secret": {"env": "S"}}, "environmentId": "prod"}
    (folder / "a.json").write_text(json.dumps({**DOCUMENT, "schedules": schedules, "triggers": [hook]}))
    text = "environments: {test: {}, bad: {connections: {conn_none: conn_pg}}}"
    problems = [each for each in loaded(folder, text).problems if each.file == str(folder / "a.json")]
    assert [(problem.code, problem.path, problem.hint) for problem in problems] == [
        ("unknown_environment", "$.schedules[1].environmentId", "did you mean 'test'?"),
        ("unknown_environment", "$.triggers[0].environmentId", "known: bad, test"),
    ]
    assert loaded(folder, text).pipelines == ()


def test_a_document_at_hand_runs_whatever_its_schedules_name(folder: Path) -> None:
    """The environment of a schedule may be gone by the time that a run of another one starts."""
    schedule = {"id": "sch_a", "cronExpression": "0 2 * * *", "environmentId": "gone"}
    assert load_document({**DOCUMENT, "schedules": [schedule]}, folder=folder).pipelines != ()
