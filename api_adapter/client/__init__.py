"""The Runs API as its callers see it: one client, which tries again where that helps and follows logs to their end."""

from api_adapter.client.client import LogEnd, RunsClient, StartedRun
from api_adapter.client.errors import ForeignAnswerError, RefusedError, ServiceError, UnreachableError
from api_adapter.client.patience import Patience

__all__ = [
    "ForeignAnswerError",
    "LogEnd",
    "Patience",
    "RefusedError",
    "RunsClient",
    "ServiceError",
    "StartedRun",
    "UnreachableError",
]
