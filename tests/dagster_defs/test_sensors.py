"""Triggers as sensors, and what schedules and sensors ask Dagster to run."""

import json
from pathlib import Path
from typing import Any

import pytest
from dagster import DefaultSensorStatus

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.pipelines import no_environments
from planasonix_orchestrator.dagster_defs.run_requests import request_run
from planasonix_orchestrator.dagster_defs.variables import RunVariableError
from tests.dagster_defs.pipelines import document, node, plan_of
from tests.dagster_defs.test_repository import repository_of

NODES = [node("a", "source.numbers")]


@pytest.mark.parametrize(
    ("said", "status"), [({}, DefaultSensorStatus.RUNNING), ({"enabled": False}, DefaultSensorStatus.STOPPED)]
)
def test_a_webhook_has_a_switch_in_dagster(tmp_path: Path, said: dict[str, Any], status: DefaultSensorStatus) -> None:
    """A sensor named after the trigger, on the pipeline's job, on or off as the document says."""
    trigger = {"id": "trg_calls", "triggerType": "webhook", "config": {"secret": {"env": "SECRET"}}, **said}
    (tmp_path / "a.json").write_text(json.dumps(document(NODES, triggers=[trigger])))
    (sensor,) = repository_of(tmp_path).sensor_defs
    assert (sensor.name, sensor.job_name, sensor.default_status) == ("trg_calls", "numbers", status)


def test_a_requested_run_shows_what_it_resolved(tmp_path: Path) -> None:
    """Its variables and its environment stand in its config; the environment in its tags too, beside what is given."""
    plan = plan_of(document(NODES, variables={"a": {"default": "x"}, "b": {}}), folder=tmp_path)
    environments = no_environments()
    environments["environments"] = [
        {
            "id": "test",
            "name": "test",
            "variables": {"b": "from test"},
            "connections": {},
            "maxConcurrentRuns": None,
            "executor": None,
        }
    ]
    request = request_run(
        plan,
        environments=environments,
        variables={"a": "given"},
        environment_id="test",
        run_key="key",
        tags={tags.TRIGGER: "sensor"},
    )
    resources = request.run_config["resources"]
    assert resources["variables"]["config"] == {"a": "given", "b": "from test"}
    assert resources["pipeline"]["config"] == {"environment": "test"}
    assert (request.run_key, request.job_name) == ("key", "numbers")
    assert request.tags == {tags.TRIGGER: "sensor", tags.ENVIRONMENT_ID: "test"}


def test_a_run_that_could_not_start_is_not_requested(tmp_path: Path) -> None:
    """The tick fails and names the variable, instead of a run that fails at once."""
    plan = plan_of(document(NODES, variables={"b": {"type": "integer"}}), folder=tmp_path)
    with pytest.raises(RunVariableError, match="'b': must be set"):
        request_run(plan, environments=no_environments(), variables={}, environment_id=None, run_key="key", tags={})
