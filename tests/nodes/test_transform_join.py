"""transform.join."""

from typing import Any

import pytest
from pydantic import ValidationError

from planasonix_orchestrator.nodes.columns import DuplicateColumnError, MissingColumnError
from planasonix_orchestrator.nodes.transforms.join import Join
from tests.nodes.workbench import Workbench

LEFT = "SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (NULL, 'n')) AS v(k, v)"
RIGHT = "SELECT * FROM (VALUES (1, 'A'), (1, 'AA'), (3, 'C'), (NULL, 'N')) AS v(k, v)"


def by_text(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows in an order that puts up with NULL."""
    return sorted(rows, key=repr)


@pytest.mark.parametrize(
    ("kind", "null_safe", "expected"),
    [
        ("inner", False, [(1, "a", "A"), (1, "a", "AA")]),
        ("inner", True, [(1, "a", "A"), (1, "a", "AA"), (None, "n", "N")]),
        ("left", False, [(1, "a", "A"), (1, "a", "AA"), (2, "b", None), (None, "n", None)]),
        ("right", False, [(1, "a", "A"), (1, "a", "AA"), (3, None, "C"), (None, None, "N")]),
        ("right", True, [(1, "a", "A"), (1, "a", "AA"), (3, None, "C"), (None, "n", "N")]),
        (
            "full",
            False,
            [(1, "a", "A"), (1, "a", "AA"), (2, "b", None), (3, None, "C"), (None, "n", None), (None, None, "N")],
        ),
        ("full", True, [(1, "a", "A"), (1, "a", "AA"), (2, "b", None), (3, None, "C"), (None, "n", "N")]),
    ],
)
def test_each_kind_joins_as_its_name_says(
    bench: Workbench, kind: str, null_safe: bool, expected: list[tuple[Any, ...]]
) -> None:
    """Matches go on, and what has none as the kind says; NULL equals NULL only if asked."""
    result = bench.run(
        Join(),
        {"kind": kind, "keys": [{"left": "k"}], "nullSafe": null_safe},
        {"left": [bench.table("l", LEFT)], "right": [bench.table("r", RIGHT)]},
    )
    assert bench.columns(result) == ["k INTEGER", "v VARCHAR", "v_right VARCHAR"]
    assert by_text(bench.rows(result)) == by_text(expected)
    assert result.rows_in == 7


@pytest.mark.parametrize(
    ("kind", "null_safe", "expected"),
    [
        ("semi", False, [(1, "a")]),
        ("semi", True, [(1, "a"), (None, "n")]),
        ("anti", False, [(2, "b"), (None, "n")]),
        ("anti", True, [(2, "b")]),
    ],
)
def test_semi_and_anti_joins_only_choose_left_rows(
    bench: Workbench, kind: str, null_safe: bool, expected: list[tuple[Any, ...]]
) -> None:
    """Each left row goes on at most once, with its own columns only."""
    result = bench.run(
        Join(),
        {"kind": kind, "keys": [{"left": "k", "right": "K"}], "nullSafe": null_safe},
        {"left": [bench.table("l", LEFT)], "right": [bench.table("r", RIGHT)]},
    )
    assert bench.columns(result) == ["k INTEGER", "v VARCHAR"]
    assert by_text(bench.rows(result)) == by_text(expected)


def test_a_cross_join_makes_every_combination(bench: Workbench) -> None:
    """A cross join has no keys, so every clashing column has its suffix."""
    result = bench.run(
        Join(),
        {"kind": "cross", "suffixes": {"left": " (l)", "right": " (r)"}},
        {"left": [bench.table("l", LEFT)], "right": [bench.table("r", RIGHT)]},
    )
    assert bench.columns(result) == ["k (l) INTEGER", "v (l) VARCHAR", "k (r) INTEGER", "v (r) VARCHAR"]
    assert len(bench.rows(result)) == 12


def test_keys_of_different_names_both_go_on(bench: Workbench) -> None:
    """Several pairs must all be equal; only a pair of one name becomes one column."""
    left = bench.table("l", "SELECT * FROM (VALUES (1, 1, 'a'), (1, 2, 'b')) AS v(\"the key\", \"select\", x)")
    right = bench.table("r", 'SELECT * FROM (VALUES (1, 2, \'A\')) AS v("the key", "from", y)')
    config = {"keys": [{"left": "the key"}, {"left": "select", "right": "from"}]}
    result = bench.run(Join(), config, {"left": [left], "right": [right]})
    assert bench.columns(result) == ["the key INTEGER", "select INTEGER", "x VARCHAR", "from INTEGER", "y VARCHAR"]
    assert bench.rows(result) == [(1, 2, "b", 2, "A")]


def test_a_relation_can_be_joined_with_itself(bench: Workbench) -> None:
    """The same rows may arrive at both ports."""
    relation = bench.table("l", LEFT)
    result = bench.run(Join(), {"keys": [{"left": "k"}]}, {"left": [relation], "right": [relation]})
    assert by_text(bench.rows(result)) == [(1, "a", "a"), (2, "b", "b")]


def test_a_missing_key_names_its_side(bench: Workbench) -> None:
    """A key that one side lacks is an error that says which side, and what is there."""
    ports = {"left": [bench.table("l", LEFT)], "right": [bench.table("r", RIGHT)]}
    with pytest.raises(MissingColumnError, match=r"the right input has no column 'key'.*its columns: k, v"):
        bench.run(Join(), {"keys": [{"left": "k", "right": "key"}]}, ports)


def test_a_suffix_that_makes_another_clash_is_refused(bench: Workbench) -> None:
    """A result never has two columns of one name."""
    left = bench.table("l", "SELECT 1 AS k, 2 AS v, 3 AS v_right")
    with pytest.raises(DuplicateColumnError, match=r"two columns 'v_right'.*set suffixes"):
        bench.run(Join(), {"keys": [{"left": "k"}]}, {"left": [left], "right": [bench.table("r", RIGHT)]})


@pytest.mark.parametrize(
    ("config", "message"),
    [({"kind": "cross", "keys": [{"left": "k"}]}, "has no keys"), ({"kind": "left"}, "at least one pair of keys")],
)
def test_keys_must_fit_the_kind(config: dict[str, Any], message: str) -> None:
    """A cross join has no keys, every other kind has."""
    with pytest.raises(ValidationError, match=message):
        Join.config_model.model_validate(config)
