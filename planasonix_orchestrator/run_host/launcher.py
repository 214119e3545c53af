"""The run launcher of one machine: runs are the host's business, so that it only announces and looks them up."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dagster import DagsterInstance, DagsterRun, DefaultRunLauncher, Field, Float, Int, Noneable

from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.run_host.dagster_api import (
    CheckRunHealthResult,
    ConfigurableClass,
    ConfigurableClassData,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from planasonix_orchestrator.run_host.intents import announce, intend, is_intended
from planasonix_orchestrator.run_host.run_folders import RunFolders
from planasonix_orchestrator.settings import load_settings

DEFAULT_GRACE_SECONDS = 10.0
DEFAULT_WARM_WORKERS = 2
_MEGABYTE = 1024 * 1024


class RunHostLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Has runs executed by the host of this machine, each by a process of its own that is warm already.

    `grace_seconds` is how long a canceled run may take to stop by itself; `memory_limit` the resident bytes that the
    processes of one run may have together (None: no limit); `warm_workers` how many processes wait for runs.
    """

    drives_intents = True  # the host brings every intent to its end; nobody else needs to

    def __init__(
        self,
        *,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        memory_limit: int | None = None,
        warm_workers: int = DEFAULT_WARM_WORKERS,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster left it out
        self._stock = DefaultRunLauncher()
        self.grace_seconds = grace_seconds
        self.memory_limit = memory_limit
        self.warm_workers = warm_workers
        self._inst_data = inst_data

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What dagster.yaml says of it."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what dagster.yaml may say."""
        return {
            "grace_seconds": Field(
                Float,
                default_value=DEFAULT_GRACE_SECONDS,
                description="How long a canceled run may take to stop by itself before its processes are killed.",
            ),
            "memory_limit_megabytes": Field(
                Noneable(Int),
                default_value=None,
                description="Resident memory past which the processes of a run are killed. null: no limit.",
            ),
            "warm_workers": Field(
                Int, default_value=DEFAULT_WARM_WORKERS, description="How many processes wait for runs."
            ),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> "RunHostLauncher":
        """Return the launcher that dagster.yaml describes."""
        megabytes = config_value.get("memory_limit_megabytes")
        return cls(
            grace_seconds=config_value.get("grace_seconds", DEFAULT_GRACE_SECONDS),
            memory_limit=megabytes * _MEGABYTE if megabytes else None,
            warm_workers=config_value.get("warm_workers", DEFAULT_WARM_WORKERS),
            inst_data=inst_data,
        )

    def register_instance(self, instance: DagsterInstance) -> None:
        """Take note of the instance that this belongs to, as Dagster has it."""
        super().register_instance(instance)
        self._stock.register_instance(instance)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Announce a run to the host; launch one that is not of a pipeline as Dagster does, from its code server."""
        if tags.PIPELINE_ID in context.dagster_run.tags:
            announce(self._instance, run_id=context.dagster_run.run_id)
        else:
            self._stock.launch_run(context)

    def terminate(self, run_id: str) -> bool:
        """Store that a run be canceled; False if it has ended. The host sees to the rest."""
        return intend(self._instance, run_id=run_id, by="Dagster", at=datetime.now(UTC))

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring may ask, in case the host itself is away for long."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tell whether a process works on a run of this machine."""
        folder = RunFolders(load_settings().runs).of(run.run_id)
        process = folder.process
        if process is None:  # it was not started by the host: nothing is known of its process
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        if process.alive or is_intended(self._instance, run_id=run.run_id):  # which ends as canceled, by the host
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(process.pid))
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the run's worker (pid {process.pid}) is gone")
