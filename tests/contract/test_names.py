"""Dagster names of pipelines, nodes and ports."""

import pytest
from dagster._core.definitions.utils import DISALLOWED_NAMES, is_valid_name
from hypothesis import assume, example, given
from hypothesis import strategies as st

from planasonix_orchestrator.contract.names import RESERVED, decode_name, encode_name

# Names of all kinds, and often such as look like an escape themselves.
NAMES = st.text(min_size=1) | st.text(alphabet="_x0123456789abcdef-", min_size=1) | st.sampled_from(sorted(RESERVED))


def test_the_reserved_words_are_dagsters() -> None:
    """The list that stands in the contract is that of the installed Dagster."""
    assert set(DISALLOWED_NAMES) == RESERVED


@given(NAMES)
@example("_x2d_")
@example("_x5f_x2d_")
@example("load_x2d-")
@example("__x2d__x2d_")
@example("in_")
@example("in_x5f_")
def test_a_name_comes_back(name: str) -> None:
    """Decoding gives the user's name back, whatever it is, and Dagster accepts the encoded one."""
    encoded = encode_name(name)
    assert is_valid_name(encoded)
    assert encoded not in DISALLOWED_NAMES
    assert decode_name(encoded) == name


@given(NAMES, NAMES)
def test_two_names_never_meet(first: str, second: str) -> None:
    """Different names have different Dagster names."""
    assume(first != second)
    assert encode_name(first) != encode_name(second)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("load_data", "load_data"),
        ("load-data", "load_x2d_data"),
        ("in", "in_"),
        ("config", "config_"),
        ("config_", "config_x5f_"),
        ("é", "_xe9_"),
    ],
)
def test_names_stay_readable(name: str, encoded: str) -> None:
    """A name that Dagster takes is left alone; of others, only what it refuses is written otherwise."""
    assert encode_name(name) == encoded


def test_a_name_of_someone_else_is_left_alone() -> None:
    """Decoding what was never encoded gives it back where it can't be an escape."""
    assert [decode_name(name) for name in ("plain", "_x", "_xg_", "_x110000_")] == ["plain", "_x", "_xg_", "_x110000_"]


def test_an_empty_name_is_refused() -> None:
    """Nothing has no name."""
    with pytest.raises(ValueError, match="at least one character"):
        encode_name("")
