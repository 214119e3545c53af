"""A launcher and a coordinator for tests of what the API leaves to them."""

from collections.abc import Mapping
from typing import Any

from dagster import DagsterEvent, DagsterInstance, DagsterRun, Field
from dagster._core.launcher.base import LaunchRunContext, RunLauncher
from dagster._core.run_coordinator import RunCoordinator, SubmitRunContext
from dagster._serdes import ConfigurableClass, ConfigurableClassData


class WatchedLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Launches nothing, and marks a run that it is told to stop. It may say that it drives intents by itself."""

    def __init__(self, *, drives_intents: bool, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drives_intents = drives_intents
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"drives_intents": Field(bool)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> "WatchedLauncher":
        return cls(drives_intents=config_value["drives_intents"], inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        pass

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        assert run is not None
        self._instance.report_run_canceling(run)
        return True


class OtherCoordinator(RunCoordinator[DagsterInstance], ConfigurableClass):
    """One that must be told of each run. It says on the run that it was, once for each time."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData,
        config_value: Mapping[str, Any],  # noqa: ARG003  (it has none)
    ) -> "OtherCoordinator":
        return cls(inst_data)

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        run = context.dagster_run
        self._instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id=run.run_id)
        return run

    def cancel_run(self, run_id: str) -> bool:  # noqa: ARG002  (nothing here is ever canceled)
        return False
