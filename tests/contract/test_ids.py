"""Run ids."""

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planasonix_orchestrator.contract.ids import RunIdError, decode_run_id, encode_run_id


@given(st.uuids())
def test_a_run_id_is_reversible(uuid: UUID) -> None:
    """Every Dagster run has one API id, and each gives the other."""
    run_id = encode_run_id(str(uuid))
    assert re.fullmatch(r"run_[0-9a-hjkmnp-tv-z]{26}", run_id)
    assert decode_run_id(run_id) == str(uuid)


@given(st.uuids(), st.uuids())
def test_ids_sort_as_their_runs_do(first: UUID, second: UUID) -> None:
    """The order of API ids is that of the Dagster ids."""
    assert (encode_run_id(str(first)) < encode_run_id(str(second))) == (str(first) < str(second))


@given(st.text() | st.text(alphabet="0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26).map("run_".__add__))
def test_no_other_text_is_a_run_id(text: str) -> None:
    """A text either is what encoding gives, or is refused."""
    try:
        decoded = decode_run_id(text)
    except RunIdError:
        return
    assert encode_run_id(decoded) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "run_", "run_x", "pl_" + "0" * 26, "0" * 26, "run_" + "0" * 25, "run_" + "0" * 27, "run_" + "z" * 26),
        *("run_8" + "0" * 25, "RUN_" + "0" * 26, "run_" + "A" * 26, "run_" + "u" * 26, "run_run_" + "0" * 26),
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    """Wrong prefix, length, letters, case, or a number of more than 128 bits: the error carries the text."""
    with pytest.raises(RunIdError) as caught:
        decode_run_id(text)
    assert caught.value.text == text


@pytest.mark.parametrize("text", ["", "run_x", "not-a-uuid"])
def test_only_uuids_are_encoded(text: str) -> None:
    """What is not a Dagster run id has no API id."""
    with pytest.raises(RunIdError):
        encode_run_id(text)
