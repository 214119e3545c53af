"""What this room takes of Dagster's internals: Dagster has no public way to execute a run that is in its storage.

`execute_run_iterator` is what ``dagster api execute_run`` does inside; the in-memory job spares it a second load.
"""

from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import DagsterEvent, DagsterEventType, JobFailureData, RunFailureReason
from dagster._core.execution.api import execute_run_iterator
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._core.run_coordinator.base import RunCoordinator, SubmitRunContext
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers

__all__ = [
    "GRPC_INFO_TAG",
    "CheckRunHealthResult",
    "ConfigurableClass",
    "ConfigurableClassData",
    "DagsterEvent",
    "DagsterEventType",
    "DagsterUserCodeUnreachableError",
    "InMemoryJob",
    "JobFailureData",
    "LaunchRunContext",
    "RunCoordinator",
    "RunFailureReason",
    "RunLauncher",
    "RunTagsTable",
    "RunsTable",
    "SubmitRunContext",
    "WorkerStatus",
    "capture_interrupts",
    "execute_run_iterator",
    "serializable_error_info_from_exc_info",
    "serialize_value",
    "setup_interrupt_handlers",
]
