"""Dagster's private names that control needs, in one place.

Dagster has no public Python API to start a run of another process's code location: dagster_graphql is the only
client of these, and dagster_graphql.implementation.execution is where their use was read off (1.13.27). Nor has it one
to read what a compute-log manager keeps.
"""

from dagster._config import validate_config_from_snap
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.errors import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.remote_representation.external import RemoteJob, RemoteRepository, RemoteSchedule, RemoteSensor
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorTick,
    SensorInstigatorData,
    TickStatus,
)
from dagster._core.storage.cloud_storage_compute_log_manager import CloudStorageComputeLogManager
from dagster._core.storage.compute_log_manager import ComputeIOType, ComputeLogManager
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.tags import (
    CODE_LOCATION_TAG,
    GRPC_INFO_TAG,
    PARENT_RUN_ID_TAG,
    PRIORITY_TAG,
    ROOT_RUN_ID_TAG,
)
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils.schedules import schedule_execution_time_iterator
from dagster_shared.error import SerializableErrorInfo

__all__ = [
    "CODE_LOCATION_TAG",
    "GRPC_INFO_TAG",
    "IO_TYPE_EXTENSION",
    "PARENT_RUN_ID_TAG",
    "PRIORITY_TAG",
    "ROOT_RUN_ID_TAG",
    "CanCancelExecutionRequest",
    "CanCancelExecutionResult",
    "CloudStorageComputeLogManager",
    "ComputeIOType",
    "ComputeLogManager",
    "DagsterGrpcClient",
    "DagsterUserCodeProcessError",
    "DagsterUserCodeUnreachableError",
    "GrpcServerCodeLocation",
    "GrpcServerTarget",
    "InstigatorState",
    "InstigatorTick",
    "InstigatorType",
    "JobSubsetSelector",
    "LocalComputeLogManager",
    "QueuedRunCoordinator",
    "RemoteJob",
    "RemoteRepository",
    "RemoteSchedule",
    "RemoteSensor",
    "RunTagsTable",
    "RunsTable",
    "SensorInstigatorData",
    "SerializableErrorInfo",
    "SqlEventLogStorage",
    "SubmitRunContext",
    "TickStatus",
    "WorkspaceProcessContext",
    "WorkspaceRequestContext",
    "deserialize_value",
    "schedule_execution_time_iterator",
    "serialize_value",
    "validate_config_from_snap",
]
