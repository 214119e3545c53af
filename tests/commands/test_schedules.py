"""`planasonix schedules`: listed, switched and run, from a pipe."""

import json
from collections.abc import Iterator

import httpx
import pytest
from dagster import DagsterInstance

from planasonix_orchestrator.contract.ids import decode_run_id
from tests.commands.conftest import planasonix


@pytest.fixture(autouse=True)
def _as_declared(instance: DagsterInstance) -> Iterator[None]:
    """Each test begins with the switches as the documents have them."""
    yield
    for state in instance.all_instigator_state():
        instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)


def test_schedules_are_listed(service: httpx.Client) -> None:
    """One line each, with the next fire of those that are on; as JSON in the API's shape."""
    lines = [line.split("\t") for line in planasonix("schedules").stdout.splitlines()]
    told = json.loads(planasonix("schedules", "--json").stdout)["data"]
    assert [line[:5] for line in lines] == [
        ["sch_bad", "pl_bad", "0 2 * * *", "UTC", "off"],
        ["sch_branches", "pl_branches", "30 2 * * *", "Europe/Berlin", "on"],
        ["sch_off", "pl_branches", "0 * * * *", "UTC", "off"],
    ]
    assert [line[5] for line in lines] == ["", told[1]["attributes"]["next_run_at"], ""]
    assert [each["id"] for each in told] == ["sch_bad", "sch_branches", "sch_off"]


def test_a_schedule_is_switched(service: httpx.Client) -> None:
    """It is shown as it is then."""
    assert planasonix("schedules", "enable", "sch_off").stdout.split("\t")[4] == "on"
    answer = json.loads(planasonix("schedules", "disable", "sch_off", "--json").stdout)
    assert answer["data"]["attributes"]["enabled"] is False


def test_a_schedule_is_run(service: httpx.Client, instance: DagsterInstance) -> None:
    """The run's id is printed; values are typed as the pipeline's variables."""
    run_id = planasonix("schedules", "run", "sch_branches", "--var", "day=2025-02-03").stdout.strip()
    run = instance.get_run_by_id(decode_run_id(run_id))
    assert run is not None
    assert service.get(f"/api/runs/{run_id}").json()["variables"] == {"day": "2025-02-03"}
    instance.report_run_canceled(run)


def test_what_is_wrong_is_told(service: httpx.Client) -> None:
    """With the exit code of bad input."""
    assert "There is no schedule" in planasonix("schedules", "run", "sch_none", code=2).stderr
    assert "its pipeline is draft" in planasonix("schedules", "enable", "sch_bad", code=2).stderr
