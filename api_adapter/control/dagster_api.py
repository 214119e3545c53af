"""Dagster's private names that control needs, in one place.

Dagster has no public Python API to start a run of another process's code location: dagster_graphql is the only
client of these, and dagster_graphql.implementation.execution is where their use was read off (1.13.27).
"""

from dagster._config import validate_config_from_snap
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.errors import DagsterUserCodeProcessError, DagsterUserCodeUnreachableError
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.remote_representation.external import RemoteJob, RemoteRepository
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._grpc.client import DagsterGrpcClient

__all__ = [
    "DagsterGrpcClient",
    "DagsterUserCodeProcessError",
    "DagsterUserCodeUnreachableError",
    "GrpcServerCodeLocation",
    "GrpcServerTarget",
    "JobSubsetSelector",
    "RemoteJob",
    "RemoteRepository",
    "WorkspaceProcessContext",
    "WorkspaceRequestContext",
    "validate_config_from_snap",
]
