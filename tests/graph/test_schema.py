"""The published JSON Schemas say what the models say."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from planasonix_orchestrator.graph.json_source import parse_json
from planasonix_orchestrator.graph.loading import find_files, load_files
from planasonix_orchestrator.graph.schema import (
    config_schema,
    connections_schema,
    environments_schema,
    pipeline_schema,
    webhooks_schema,
)
from planasonix_orchestrator.graph.yaml_source import parse_yaml
from planasonix_orchestrator.nodes.base import NodeConfig

CASES = Path(__file__).parent / "cases"
# The model takes null for "there are none", as some programs write it; editors need not offer it.
NULL_FOR_NONE = ("exported.json",)


class Column(NodeConfig):
    """A column of the tests."""

    name: str
    width: int = 1


class Config(NodeConfig):
    """A config of the tests."""

    path: str
    rows: Annotated[int, Field(ge=1)] = 10
    mode: Literal["append", "truncate"] = "append"
    columns: tuple[Column, ...] = ()


CONFIG = config_schema(Config)
VALIDATOR = Draft202012Validator(pipeline_schema({"source.test": CONFIG, "test": CONFIG, "sink": {"type": "object"}}))


def pipeline(**node: Any) -> dict[str, Any]:
    return {"id": "pl_a", "name": "a", "nodes": [{"id": "a", **node}]}


@pytest.mark.parametrize(
    "schema",
    [pipeline_schema(), connections_schema(), environments_schema(), webhooks_schema(), VALIDATOR.schema],
    ids=["p", "c", "e", "w", "v"],
)
def test_the_schemas_are_json_schema_2020_12(schema: dict[str, Any]) -> None:
    """They say so and keep to it, and every reference leads somewhere."""
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)
    for name in (part.split('"')[0] for part in text.split('"#/$defs/')[1:]):
        assert name in schema["$defs"]


@pytest.mark.parametrize("file", [f for f in find_files(CASES) if f.name not in NULL_FOR_NONE], ids=lambda f: f.name)
def test_the_schema_agrees_with_the_models(file: Path) -> None:
    """A document whose shape is right is right for both, and one whose shape is wrong for neither."""
    text = file.read_bytes().decode("utf-8-sig", errors="replace")
    parsed = parse_json(text) if file.suffix == ".json" else parse_yaml(text)
    shape = {"not_utf8", "plain_secret", "unknown_field", "missing_field", "invalid_value"}
    problems = load_files([file], beside=None).problems
    wrong = parsed.data is None or any(problem.code in shape for problem in problems)
    assert bool(list(Draft202012Validator(pipeline_schema()).iter_errors(parsed.data))) == wrong


@pytest.mark.parametrize(
    "edge",
    [
        {"source": "a", "target": "b"},
        {"from": "a", "to": "b", "sourceHandle": "x", "targetPort": "y"},
        {"from": "a", "target": "b", "animated": True, "style": {}},
    ],
)
def test_edges_can_be_written_in_each_way(edge: dict[str, Any]) -> None:
    """`from` and `to` stand for `source` and `target`, handles for ports."""
    assert not list(Draft202012Validator(pipeline_schema()).iter_errors(pipeline(type="t") | {"edges": [edge]}))


@pytest.mark.parametrize("edge", [{}, {"source": "a"}, {"source": "a", "from": "a", "to": "b"}, {"to": "b", "x": 1}])
def test_an_edge_has_two_ends(edge: dict[str, Any]) -> None:
    """Each end is given once."""
    assert list(Draft202012Validator(pipeline_schema()).iter_errors(pipeline(type="t") | {"edges": [edge]}))


@pytest.mark.parametrize(
    "node",
    [
        {"type": "source.test", "config": {"path": "x"}},
        {"type": "test", "config": {"path": "{{ x }}", "rows": "{{ rows }}", "mode": "{{ mode }}"}},
        {"type": "test", "config": {"path": "x", "columns": [{"name": "a", "width": "{{ w }}"}]}},
        {"type": "sink"},
    ],
)
def test_the_config_of_a_known_type_is_checked_and_may_hold_templates(node: dict[str, Any]) -> None:
    """Aliases have the config of their type."""
    assert not list(VALIDATOR.iter_errors(pipeline(**node)))


@pytest.mark.parametrize(
    "node",
    [
        {"type": "sorce.test", "config": {"path": "x"}},
        {"type": "source.test"},
        {"type": "test", "config": {"path": "x", "rows": 0}},
        {"type": "test", "config": {"path": "x", "rows": "ten"}},
        {"type": "test", "config": {"path": "x", "mode": "upsert"}},
        {"type": "test", "config": {"path": "x", "columns": [{"nam": "a"}]}},
        {"type": "sink", "config": 5},
    ],
)
def test_a_wrong_type_or_config_is_refused(node: dict[str, Any]) -> None:
    """So an editor marks it while it is typed."""
    assert list(VALIDATOR.iter_errors(pipeline(**node)))


def test_connections_hold_secrets_only_by_name() -> None:
    """A password as text is refused."""
    validator = Draft202012Validator(connections_schema())
    right = {"type": "postgres", "host": "h", "password": {"env": "PASSWORD"}}
    assert not list(validator.iter_errors({"connections": {"conn_a": right}}))
    assert list(validator.iter_errors({"connections": {"conn_a": right | {"password": "x"}}}))
