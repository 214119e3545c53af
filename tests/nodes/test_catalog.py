"""The catalog of node types."""

import pytest

from planasonix_orchestrator.nodes.catalog import (
    DuplicateNodeTypeError,
    NodeCatalog,
    UnknownNodeTypeError,
    load_catalog,
)
from planasonix_orchestrator.nodes.transforms.deduplicate import Deduplicate
from planasonix_orchestrator.nodes.transforms.filter import Filter


def test_a_type_answers_to_its_name_and_its_short_ids() -> None:
    """The product's short ids are other names of the same type."""
    catalog = NodeCatalog([Filter(), Deduplicate()])
    assert catalog.get("dedupe") is catalog.get("deduplicate") is catalog.get("transform.deduplicate")
    assert [node_type.type_name for node_type in catalog] == ["transform.filter", "transform.deduplicate"]
    assert len(catalog) == 2
    assert repr(catalog) == "NodeCatalog(transform.filter, transform.deduplicate)"


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    """A misspelt type is told what it may have meant."""
    with pytest.raises(UnknownNodeTypeError, match=r"'transform\.fliter'; did you mean 'transform\.filter'") as caught:
        NodeCatalog([Filter()]).get("transform.fliter")
    assert caught.value.nearest == "transform.filter"
    with pytest.raises(UnknownNodeTypeError, match=r"'xyz'$"):
        NodeCatalog([Filter()]).get("xyz")


def test_two_types_of_one_name_are_an_error() -> None:
    """A name or short id belongs to one type only."""

    class Other(Filter):
        """Another type with the short id `filter`."""

        type_name = "transform.other"

    with pytest.raises(DuplicateNodeTypeError, match="'filter'"):
        NodeCatalog([Filter(), Other()])


def test_the_products_ids_are_there() -> None:
    """Graphs exported from Planasonix find their types."""
    catalog = load_catalog()
    short = ["filter", "deduplicate", "dedupe", "sql", "select", "join", "union", "summarize", "sort", "sample"]
    assert all(catalog.get(name) for name in short)
