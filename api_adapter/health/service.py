"""Looks at each part that the service needs."""

from collections.abc import Callable
from datetime import timedelta

from api_adapter.dependencies import Services
from api_adapter.errors import ApiError, Detail, UnavailableError

_OLDEST_HEARTBEAT = timedelta(seconds=90)  # the daemon gives one every 30 s


class NotReadyError(ApiError):
    """Parts that the service needs are away; `details` name each and say why."""

    status = 503
    code = "not_ready"

    def __init__(self, reasons: dict[str, str]) -> None:
        details = [Detail(part, reason) for part, reason in reasons.items()]
        super().__init__(f"Not ready: {'; '.join(reasons.values())}", details=details, headers={"Retry-After": "2"})


def check_readiness(services: Services) -> dict[str, str]:
    """Return every part as ``ok``; `NotReadyError` names those that are not."""
    checks: dict[str, Callable[[], str | None]] = {
        "postgres": services.storage.check,
        "daemon": lambda: _daemon_trouble(services),
        "codeLocation": services.control.check,
    }
    reasons = {part: reason for part, check in checks.items() if (reason := _reason(check))}
    if reasons:
        raise NotReadyError(reasons)
    return dict.fromkeys(checks, "ok")


def _daemon_trouble(services: Services) -> str | None:
    heartbeat = services.storage.last_heartbeat()
    if heartbeat is None:
        return "The Dagster daemon has never run here, so runs would stay queued. Start `dagster-daemon run`."
    age = services.clock() - heartbeat
    if age > _OLDEST_HEARTBEAT:
        return f"The Dagster daemon gave its last sign of life {age.total_seconds():.0f} s ago. Restart it."
    return None


def _reason(check: Callable[[], str | None]) -> str | None:
    try:
        return check()
    except UnavailableError as error:
        return error.message
