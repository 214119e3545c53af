"""`planasonix cancel`: one run, or all that a filter finds."""

import json

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.making import make_run
from tests.commands.conftest import planasonix, start


def test_a_run_is_canceled(service: httpx.Client) -> None:
    """Its id and what becomes of it, in a pipe; once more changes nothing; as JSON the API's own answer."""
    run_id = start(service)
    assert planasonix("cancel", run_id).stdout == f"{run_id}\tcancel_requested\n"
    assert planasonix("cancel", run_id, "--wait").stdout == f"{run_id}\tcanceled\n"
    assert planasonix("cancel", run_id).stdout == f"{run_id}\tcanceled\n"
    assert json.loads(planasonix("cancel", run_id, "--json").stdout)["status"] == "canceled"
    assert json.loads(planasonix("cancel", run_id, "--wait", "--json").stdout)["canceledBy"] == "user"


def test_a_run_that_has_ended_is_not_canceled(service: httpx.Client, instance: DagsterInstance) -> None:
    """Exit code 1, and how it ended."""
    run_id = encode_run_id(make_run(instance, status=DagsterRunStatus.SUCCESS).run_id)
    assert "succeeded" in planasonix("cancel", run_id, code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["run_00000000000000000000000000"], "planasonix runs"), (["x"], "is not a run id")],
)
def test_what_is_wrong_with_a_call_makes_exit_code_2(arguments: list[str], told: str, service: httpx.Client) -> None:
    """It is told in words that help."""
    assert told in planasonix("cancel", *arguments, code=2).stderr
