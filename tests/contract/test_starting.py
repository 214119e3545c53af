"""Ids that follow from what asks for a run."""

from uuid import UUID

from planasonix_orchestrator.contract.starting import (
    hash_request,
    run_id_of_key,
    run_id_of_retry,
    run_id_of_retry_key,
)

PARENT = "0b5f3c4e-8a43-4f6c-8d6f-0d3a5b1f2c11"


def test_an_id_is_the_same_in_every_process() -> None:
    """A key that was used stays used: these ids stand in records."""
    assert run_id_of_key("pl_crm", "nightly") == "14c92f5c-18b9-57ac-b919-e43c0998a4a7"
    assert run_id_of_retry(PARENT, 0) == "3dde754a-96e8-56cc-aaa8-acc4ae3e240b"


def test_ids_are_as_dagster_writes_them() -> None:
    """UUIDs in lower case."""
    for run_id in (run_id_of_key("pl_crm", "\ud800 é"), run_id_of_retry(PARENT, 3), run_id_of_retry_key(PARENT, "k")):
        assert str(UUID(run_id)) == run_id


def test_different_requests_have_different_ids() -> None:
    """Whatever the parts are put together of."""
    ids = [run_id_of_key(*pair) for pair in (("pl_a", "b"), ("pl_ab", ""), ("pl_a", "b\x00"), ('pl_a", "b', ""))]
    ids += [run_id_of_retry(PARENT, 0), run_id_of_retry(PARENT, 1), run_id_of_retry_key(PARENT, "0")]
    assert len(set(ids)) == len(ids)


def test_a_hash_is_of_what_was_asked_not_of_how_it_was_written() -> None:
    """Keys in any order are the same request; other values are another."""
    assert hash_request({"a": 1, "b": ["é"]}) == hash_request({"b": ["\u00e9"], "a": 1})
    assert len({hash_request(one) for one in ({"a": 1}, {"a": "1"}, {"a": True}, {"a": None}, {"a": 1.5}, {})}) == 6
