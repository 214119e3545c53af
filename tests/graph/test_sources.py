"""YAML and JSON become the same values, each with its place; what can't be read is a fault and never a crash."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planasonix_orchestrator.graph.json_source import parse_json
from planasonix_orchestrator.graph.source import ParsedSource, json_path
from planasonix_orchestrator.graph.yaml_source import parse_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def places(parsed: ParsedSource) -> list[tuple[str, int | None, int | None]]:
    problems = [parsed.source.problem(fault, file=Path("f")) for fault in parsed.faults]
    return [(problem.code, problem.line, problem.column) for problem in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("2013-01-31", "2013-01-31"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("-.5e3", -500.0),
        ("1.", 1.0),
        ("~", None),
        ("", None),
        ("TRUE", True),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1),
        ("! 1", "1"),
        (".", "."),
        ("-", None),
    ],
)
def test_plain_values_mean_what_the_core_schema_of_yaml_1_2_says(text: str, value: object) -> None:
    """Only null, true, false and numbers are not texts."""
    parsed = parse_yaml(f"key: {text}\n" if text != "-" else "key:\n")
    assert parsed.faults == ()
    assert parsed.data == {"key": value}
    assert type(parsed.data["key"]) is type(value)


def test_keys_are_texts() -> None:
    """A key is the text that stands there, whatever it would mean as a value."""
    assert parse_yaml("{on: 1, no: 2, 1: 3, null: 4, 1.0: 5}").data == {"on": 1, "no": 2, "1": 3, "null": 4, "1.0": 5}


def test_aliases_repeat_a_value() -> None:
    """An alias is the value of its anchor."""
    assert parse_yaml("a: &x {b: [1]}\nc: *x\n").data == {"a": {"b": [1]}, "c": {"b": [1]}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {b: 1", ("invalid_yaml", 1, 9)),
        ("a: 1\n\tb: 2", ("invalid_yaml", 2, 1)),
        ("a: \0", ("invalid_yaml", 1, 4)),
        ("a: 1\nb: * * *", ("invalid_yaml", 2, 5)),
        ("a: *b", ("unknown_alias", 1, 4)),
        ("a: &x [*x]", ("unknown_alias", 1, 8)),
        ("a: {{ x }}", ("complex_key", 1, 5)),
        ("? [a]\n: 1", ("complex_key", 1, 3)),
        ("a: 1\n---\nb: 2", ("several_documents", 2, 1)),
        ("a: !!python/name:os.system x", ("unknown_tag", 1, 4)),
        ("a: !!set {b}", ("unknown_tag", 1, 4)),
        ("a: !!int b", ("invalid_tag", 1, 4)),
        ("a: .nan", ("invalid_number", 1, 4)),
        ("a: 1e999", ("invalid_number", 1, 4)),
        ("a: " + "9" * 5000, ("invalid_number", 1, 4)),
        ("a: 1\n<<: {b: 1}", ("merge_key", 2, 1)),
        ("a: 1\nb: {a: 1, a: 2}", ("duplicate_key", 2, 11)),
        ("[" * 200_000, ("too_deep", 1, 101)),
    ],
)
def test_bad_yaml_is_a_fault_at_its_place(text: str, expected: tuple[str, int, int]) -> None:
    """Whatever can't be read is told with line and column, and nothing is raised."""
    assert places(parse_yaml(text)) == [expected]


def test_aliases_can_not_blow_up() -> None:
    """A small file that would stand for millions of values is refused."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert places(parse_yaml("\n".join(lines)))[0][0] == "too_large"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,}', ("invalid_json", 1, 9)),
        ("{'a': 1}", ("invalid_json", 1, 2)),
        ('{\n\t"a": NaN}', ("invalid_number", 2, 7)),
        ('{"a": -1e999}', ("invalid_number", 1, 7)),
        ('{"a": ' + "9" * 5000 + "}", ("invalid_number", 1, 1)),
        ('{"a":\n "\\ud83d"}', ("invalid_text", 2, 2)),
        ('{"ab": 1,\n "a\\u0062": 2}', ("duplicate_key", 2, 2)),
        ("[" * 200_000, ("too_deep", 1, 1)),
        ("[" * 150 + "]" * 150, ("too_deep", 1, 101)),
    ],
)
def test_bad_json_is_a_fault_at_its_place(text: str, expected: tuple[str, int, int]) -> None:
    """JSON is read by its own rules, not as YAML."""
    assert places(parse_json(text)) == [expected]


def test_a_member_begins_at_its_key_and_an_item_at_itself() -> None:
    """Lines and columns count characters from 1, also after tabs, escapes and characters of several bytes."""
    text = '{\t"é\\ud83d\\ude00": [1,\t{"b": "\\"", "c": [true]}]\n}'
    source = parse_json(text).source
    assert source.locate(()) == (1, 1)
    assert source.locate(("é😀",)) == (1, 3)
    assert source.locate(("é😀", 1)) == (1, text.index('{"b"') + 1)
    assert source.locate(("é😀", 1, "c", 0)) == (1, text.index("true") + 1)


def test_yaml_lines_are_those_of_an_editor() -> None:
    """Only line feeds begin lines, not the other breaks that YAML knows; a carriage return belongs to its line."""
    source = parse_yaml('a: "x\u2028y"\r\nb: "é😀"\r\nc: [1, {d: 2}]\r\n').source
    assert source.locate(("b",)) == (2, 1)
    assert source.locate(("c", 1, "d")) == (3, 9)


def test_a_path_that_does_not_exist_is_its_nearest_parent() -> None:
    """What is missing is missing from something that stands somewhere."""
    source = parse_yaml("a:\n  - b: 1\n").source
    assert source.locate(("a", 0, "c", 5)) == (2, 5)
    assert source.locate(("z",)) == (1, 1)


def test_json_paths_are_written_as_people_do() -> None:
    """Keys that are no words stand in brackets and quotes."""
    assert json_path(("nodes", 2, "config", "a b", "$ref")) == "$.nodes[2].config['a b'].$ref"


def walk(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(found for key, item in items for found in walk(item, (*path, key)))]


@given(JSON_VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_every_value_of_a_json_text_has_a_place(value: Any, indent: int | str | None, ascii_only: bool) -> None:
    """The values are those of `json.loads`, and at each place stands the token that begins the value or its key."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    parsed = parse_json(text)
    assert parsed.faults == ()
    assert parsed.data == value
    lines = text.split("\n")
    for path in walk(value):
        position = parsed.source.locate(path)
        assert position is not None
        rest = lines[position[0] - 1][position[1] - 1 :]
        if path and isinstance(path[-1], str):
            assert rest.startswith(json.dumps(path[-1], ensure_ascii=ascii_only))
        else:
            assert rest[0] not in " \t,:]}"


@given(JSON_VALUES)
def test_json_written_as_yaml_is_the_same_document(value: Any) -> None:
    """YAML 1.2 holds JSON: an escaped JSON text gives the same values and the same places in both readers."""
    text = json.dumps(value)
    assume("\\ud" not in text)  # YAML has no surrogate pairs
    as_yaml, as_json = parse_yaml(text), parse_json(text)
    assert as_yaml.data == as_json.data
    assert [as_yaml.source.locate(path) for path in walk(value)] == [
        as_json.source.locate(path) for path in walk(value)
    ]
