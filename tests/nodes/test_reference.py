"""The reference of node types, docs/nodes.md."""

from pathlib import Path

import pytest
import yaml

from planasonix_orchestrator.nodes.base import NodeConfig, NodeType
from planasonix_orchestrator.nodes.catalog import load_catalog
from planasonix_orchestrator.nodes.reference import FieldReference, describe, example_yaml, markdown
from planasonix_orchestrator.nodes.transforms.join import Join

DOCS = Path(__file__).parents[2] / "docs"
# Other packages of this environment may add node types; the page shows those that come with Planasonix.
TYPES = [each for each in load_catalog() if type(each).__module__.startswith("planasonix_orchestrator.")]


def test_the_page_is_up_to_date() -> None:
    """docs/nodes.md is what the node types say now; `make docs` writes it."""
    assert (DOCS / "nodes.md").read_text(encoding="utf-8") == markdown(TYPES), "run: make docs"


def test_fields_are_listed_with_those_inside_them() -> None:
    """A field within a list or a part has the path that it has in the document."""
    fields = {field.path: field for field in describe(Join()).fields}
    assert fields["kind"].type.startswith("`inner`, `left`")
    assert fields["kind"].default == '"inner"'
    assert fields["keys[].left"] == FieldReference(
        path="keys[].left", type="string", required=True, default=None, description="The column of the left input."
    )
    assert fields["suffixes.right"].default == '"_right"'


@pytest.mark.parametrize("node_type", TYPES, ids=lambda node_type: node_type.type_name)
def test_every_type_explains_itself(node_type: NodeType[NodeConfig]) -> None:
    """Each type has a title, a sentence that says what it does, a described config, and an example that is valid."""
    reference = describe(node_type)
    assert reference.title
    assert reference.summary.endswith(".")
    assert reference.summary != describe(Join()).summary or isinstance(node_type, Join)
    assert all(field.description for field in reference.fields)
    (node,) = yaml.safe_load(example_yaml(reference))
    node_type.config_model.model_validate(node["config"])


@pytest.mark.parametrize("node_type", TYPES, ids=lambda node_type: node_type.type_name)
def test_every_type_keeps_to_the_form(node_type: NodeType[NodeConfig]) -> None:
    """A type is named after its category, has at most two icons, and no state."""
    category = node_type.type_name.partition(".")[0]
    assert category in ("source", "transform", "destination")
    assert bool(node_type.inputs) == (category != "source")
    assert bool(node_type.outputs) == (category != "destination")
    assert len(node_type.kinds) <= 2
    assert vars(node_type) == {}
