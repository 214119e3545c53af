"""The raw output of runs, kept in files as Dagster keeps it, without the four processes that it takes to copy it."""

import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import Field, StringSource
from dagster._core.execution.compute_logs import redirect_to_file  # which Dagster's own manager uses, too
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

from planasonix_orchestrator.settings import DAGSTER_HOME_VARIABLE, load_settings


class RunOutput(LocalComputeLogManager):
    """Dagster's local files of stdout and stderr, written to by the run's process itself.

    Dagster's own also copies them to the terminal of whoever has launched the run, by two processes for each stream,
    which take longer to start and to end than a short run to execute. `base_dir` is ``$DAGSTER_HOME/storage`` if
    dagster.yaml does not say otherwise, as Dagster's own.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what dagster.yaml may say."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> "RunOutput":
        """Return the manager that dagster.yaml describes."""
        home = os.environ.get(DAGSTER_HOME_VARIABLE) or load_settings().dagster_home
        base = config_value.get("base_dir") or str(Path(home) / "storage")
        return cls(base, inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Let this process write what it prints into the files of `log_key`, while the block runs."""
        out, err = (self._prepared(log_key, kind) for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR))
        with redirect_to_file(sys.stdout, out), redirect_to_file(sys.stderr, err):
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()  # type: ignore[no-untyped-call]  # Dagster left it out

    def _prepared(self, log_key: Sequence[str], kind: ComputeIOType) -> str:
        path: str = self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind])
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return path
