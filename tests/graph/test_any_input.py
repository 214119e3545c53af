"""Whatever stands in a file, loading ends with a pipeline or with problems that have a place, never with an error."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planasonix_orchestrator.graph.loading import load_files
from planasonix_orchestrator.graph.yaml_source import parse_yaml

CASE = Path(__file__).parent / "cases" / "right.yaml"
RIGHT = parse_yaml(CASE.read_text(encoding="utf-8")).data
WORDS = st.sampled_from(["id", "type", "n_source", "in", "pl_a", "{{ month }}", "{{", "0 2 * * *", "webhook", "s3", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(*path, key) for key, _ in items] + [p for key, item in items for p in places(item, (*path, key))]


def changed(document: Any, path: tuple[Any, ...], value: Any, *, rename: bool) -> Any:
    """The document with another value at a path, or another key; as it is if it has no such path any more."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(document, dict) and key in document:
        if rename and not rest:
            return {str(value) if each == key else each: item for each, item in document.items()}
        return document | {key: changed(document[key], rest, value, rename=rename)}
    if isinstance(document, list) and isinstance(key, int) and key < len(document):
        item = changed(document[key], rest, value, rename=rename)
        return [*document[:key], item, *document[key + 1 :]]
    return document


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to write over."""
    return tmp_path_factory.mktemp("any") / "document.json"


def check(file: Path) -> None:
    loaded = load_files([file], beside=None)
    assert bool(loaded.pipelines) != bool(loaded.problems)
    for problem in loaded.problems:
        assert (problem.line, problem.column) >= (1, 1)
        assert problem.path.startswith("$")
        str(problem).encode()


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(places(RIGHT)), VALUES), min_size=1, max_size=3), st.booleans())
def test_a_changed_document_is_told_or_loads(file: Path, changes: list[tuple[Any, Any]], rename: bool) -> None:
    """Any part of a right document may be replaced, or stand under another key."""
    document = RIGHT
    for path, value in changes:
        document = changed(document, path, value, rename=rename)
    file.write_text(json.dumps(document), encoding="utf-8")
    check(file)


@settings(max_examples=150)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_is_told(file: Path, content: str | bytes) -> None:
    """Also what is no document at all, read as JSON and as YAML."""
    for suffix in (".json", ".yaml"):
        path = file.with_name(f"text{suffix}")
        path.write_bytes(content.encode("utf-8", errors="replace") if isinstance(content, str) else content)
        problems = load_files([path], beside=None).problems
        assert problems
        assert all(str(problem).encode() for problem in problems)
