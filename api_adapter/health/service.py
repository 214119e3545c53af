"""Looks at each part that the service needs."""

from collections.abc import Callable
from datetime import timedelta

from api_adapter.dependencies import Services
from api_adapter.errors import ApiError, Detail, UnavailableError, UnknownSchemaError

_OLDEST_HEARTBEAT = timedelta(seconds=90)  # the daemon gives one every 30 s
_PARTS = ("postgres", "schema", "daemon", "runHost", "codeLocation")


class NotReadyError(ApiError):
    """Parts that the service needs are away; `details` name each and say why."""

    status = 503
    code = "not_ready"

    def __init__(self, reasons: dict[str, str]) -> None:
        details = [Detail(part, reason) for part, reason in reasons.items()]
        super().__init__(f"Not ready: {'; '.join(reasons.values())}", details=details, headers={"Retry-After": "2"})


def check_readiness(services: Services) -> dict[str, str]:
    """Return every part as ``ok``; `NotReadyError` names those that are not."""
    reasons = _database_trouble(services) or _daemon_trouble(services) | _run_host_trouble(
        services
    )  # told by the first
    reasons |= _trouble("codeLocation", services.control.check)
    if reasons:
        raise NotReadyError(reasons)
    return dict.fromkeys(_PARTS, "ok")


def _database_trouble(services: Services) -> dict[str, str]:
    try:
        return _trouble("postgres", services.storage.check)
    except UnknownSchemaError as error:
        return {"schema": error.message}


def _daemon_trouble(services: Services) -> dict[str, str]:
    heartbeat = services.storage.last_heartbeat()
    if heartbeat is None:
        reason = "The Dagster daemon has never run here, so schedules would not fire. Start `dagster-daemon run`."
        return {"daemon": reason}
    age = services.clock() - heartbeat
    if age > _OLDEST_HEARTBEAT:
        return {"daemon": f"The Dagster daemon gave its last sign of life {age.total_seconds():.0f} s ago. Restart it."}
    return {}


def _run_host_trouble(services: Services) -> dict[str, str]:
    try:
        if not services.control.has_run_host or services.storage.run_host_listens():
            return {}
    except UnavailableError:  # of what the one who asked before has found
        return {}
    command = "python -m planasonix_orchestrator.run_host"
    return {"runHost": f"No run host is at work, so runs would stay queued. Start `{command}`."}


def _trouble(part: str, check: Callable[[], None]) -> dict[str, str]:
    try:
        check()
    except UnavailableError as error:
        return {part: error.message}
    return {}
