"""Where a sensor stands: what it may need besides its trigger and its pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass

from dagster import DefaultSensorStatus

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.dagster_defs.pipeline_run import Surroundings
from planasonix_orchestrator.graph.triggers import BaseTrigger
from planasonix_orchestrator.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorPlace:
    """All pipelines of the folder by id, and what their runs share."""

    plans: Mapping[str, PipelinePlan]
    surroundings: Surroundings
    settings: Settings


def initial_status(trigger: BaseTrigger) -> DefaultSensorStatus:
    """Return whether a trigger is on while nobody has switched it."""
    return DefaultSensorStatus.RUNNING if trigger.enabled else DefaultSensorStatus.STOPPED
