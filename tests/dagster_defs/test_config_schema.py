"""A node's config model as a Dagster config schema."""

from typing import Any, Literal

import pytest
from dagster import Any as AnyValue
from dagster import Array, DagsterInvalidConfigError, Noneable, job, op, validate_run_config
from pydantic import Field

from planasonix_orchestrator.dagster_defs.config_schema import build_config_schema
from planasonix_orchestrator.nodes.base import NodeConfig
from planasonix_orchestrator.nodes.catalog import load_catalog


class Part(NodeConfig):
    column_name: str
    """The column."""
    descending: bool = False
    """Which way."""


class Tree(NodeConfig):
    label: str
    """What it is called."""
    children: list["Tree"] = Field(default=[])
    """What hangs on it."""


class Config(NodeConfig):
    table: str
    """The table."""
    mode: Literal["append", "upsert"] = "append"
    """How rows are written."""
    limit: int | None = None
    """At most so many rows."""
    rate: float = 0.5
    """The part."""
    sort_by: list[Part] = Field(default=[])
    """The order."""
    types: dict[str, str] = Field(default={})
    """Types by column."""
    keys: str | list[str] = Field(default="id")
    """One key or several."""
    null_marker: str | None = None
    """What stands for NULL."""
    tree: Tree | None = None
    """A model that contains itself."""


def check(config: dict[str, Any]) -> Any:
    """Let Dagster check a config against the schema; return it with defaults filled in."""

    @op(config_schema=build_config_schema(Config))
    def write() -> None:
        """Stand for the node."""

    @job
    def pipeline() -> None:
        write()

    checked: Any = validate_run_config(pipeline, {"ops": {"write": {"config": config}}})
    return checked["ops"]["write"]["config"]


def test_defaults_are_filled_in_under_camel_case_keys() -> None:
    """What a config leaves out has the model's default."""
    assert check({"table": "t"}) == {
        "table": "t",
        "mode": "append",
        "limit": None,
        "rate": 0.5,
        "sortBy": [],
        "types": {},
        "keys": "id",
        "nullMarker": None,
        "tree": None,
    }


def test_every_shape_of_value_is_taken() -> None:
    """Nested models, lists, maps, unions with text, and null pass where the model takes them."""
    given: dict[str, Any] = {
        "table": "t",
        "mode": "upsert",
        "limit": 3,
        "rate": 1,
        "sortBy": [{"columnName": "a"}, {"columnName": "b", "descending": True}],
        "types": {"a": "INTEGER"},
        "keys": ["a", "b"],
        "nullMarker": "NA",
        "tree": {"label": "root", "children": [{"label": "leaf", "children": []}]},
    }
    assert check(given) == {**given, "sortBy": [{"columnName": "a", "descending": False}, given["sortBy"][1]]}


def test_a_template_may_stand_for_a_number_a_flag_or_a_choice() -> None:
    """`{{ name }}` passes where a run puts the value in later."""
    templates = {"table": "{{ t }}", "mode": "{{ m }}", "limit": "{{ l }}", "rate": "{{ r }}"}
    checked = check({**templates, "sortBy": [{"columnName": "a", "descending": "{{ d }}"}]})
    assert {key: checked[key] for key in templates} == templates


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "table"),
        ({"table": "t", "tabel": "x"}, "tabel"),
        ({"table": "t", "sortBy": [{}]}, "columnName"),
        ({"table": "t", "sortBy": "a"}, "list"),
        ({"table": 3}, "string"),
    ],
)
def test_a_wrong_shape_is_refused(config: dict[str, Any], message: str) -> None:
    """Missing and unknown fields and wrong shapes are found in the launchpad already."""
    with pytest.raises(DagsterInvalidConfigError, match=f"(?i){message}"):
        check(config)


def test_descriptions_tell_choices_and_types() -> None:
    """What the schema can't say to Dagster stands in the field's description."""
    fields: Any = build_config_schema(Config).fields
    assert fields["mode"].description == "How rows are written. One of: append, upsert."
    assert fields["limit"].description == "At most so many rows. A whole number."
    assert fields["table"].description == "The table."
    assert fields["table"].is_required
    assert isinstance(fields["nullMarker"].config_type, Noneable)
    assert isinstance(fields["sortBy"].config_type, Array)
    assert fields["rate"].config_type.given_name == AnyValue.__name__


@pytest.mark.parametrize("node_type", list(load_catalog()), ids=lambda node_type: node_type.type_name)
def test_every_node_type_has_a_schema_that_takes_its_example(node_type: Any) -> None:
    """The launchpad takes the config that the docs show for a node type."""

    @op(config_schema=build_config_schema(node_type.config_model))
    def node() -> None:
        """Stand for the node."""

    @job
    def pipeline() -> None:
        node()

    assert validate_run_config(pipeline, {"ops": {"node": {"config": dict(node_type.example)}}})
