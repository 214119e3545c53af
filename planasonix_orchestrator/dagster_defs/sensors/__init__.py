"""Triggers as Dagster sensors: one for each, named after it, so that it is seen and switched in the Dagster UI."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dagster import SensorDefinition

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.dagster_defs.sensors.arrivals import build_arrivals_sensor
from planasonix_orchestrator.dagster_defs.sensors.place import SensorPlace
from planasonix_orchestrator.dagster_defs.sensors.sql import build_sql_sensor
from planasonix_orchestrator.dagster_defs.sensors.upstream import build_upstream_sensor
from planasonix_orchestrator.dagster_defs.sensors.webhook import build_webhook_sensor

__all__ = ["SensorPlace", "build_sensors"]

# One builder for each kind of trigger.
_BUILDERS: Mapping[str, Callable[[Any, PipelinePlan, SensorPlace], SensorDefinition]] = {
    "sql": build_sql_sensor,
    "upstream": build_upstream_sensor,
    "file_watcher": build_arrivals_sensor,
    "s3": build_arrivals_sensor,
    "gcs": build_arrivals_sensor,
    "azure": build_arrivals_sensor,
    "webhook": build_webhook_sensor,
}


def build_sensors(plan: PipelinePlan, *, place: SensorPlace) -> Iterator[SensorDefinition]:
    """Yield the sensors of a plan's triggers."""
    for trigger in plan.triggers:
        if trigger.trigger_type in _BUILDERS:
            yield _BUILDERS[trigger.trigger_type](trigger, plan, place)
