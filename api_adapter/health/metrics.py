"""What Prometheus is told: this process's own figures, and those of all runs, read when it asks."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from api_adapter.dependencies import Services
from api_adapter.errors import OverdueError, UnavailableError, UnknownSchemaError
from api_adapter.health.lags import read_lags
from api_adapter.middleware import Telemetry


def write_metrics(services: Services, *, telemetry: Telemetry, accept: str) -> tuple[bytes, str]:
    """Return all figures in the format that the caller accepts, and its media type.

    Without the database, `planasonix_database_up` is 0 and what it knows is missing.
    """
    figures = CollectorRegistry()
    figures.register(telemetry.registry)
    figures.register(_RunFigures(services))
    encode, media_type = choose_encoder(accept)
    return encode(figures), media_type


class _RunFigures(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterable[Metric]:
        try:
            read: list[Metric] | None = _read(self._services)
        except UnavailableError:
            read = None
        except (OverdueError, UnknownSchemaError):  # it is there all the same
            read = []
        return [_gauge("planasonix_database_up", _UP, read is not None), *(read or ())]


def _read(services: Services) -> list[Metric]:
    now = services.clock()
    gauges = services.storage.gauges(now=now)
    heartbeat = services.storage.last_heartbeat()
    runs = GaugeMetricFamily("planasonix_runs", _RUNS, labels=["status"])
    for status, number in gauges.runs.items():
        runs.add_metric([status], number)
    ages = {
        "planasonix_oldest_queued_run_age_seconds": (_QUEUED, gauges.oldest_queued_at or now),
        "planasonix_oldest_canceling_run_age_seconds": (_CANCELING, gauges.oldest_canceling_at or now),
    }
    if heartbeat is not None:
        ages["planasonix_daemon_heartbeat_age_seconds"] = (_HEARTBEAT, heartbeat)
    webhooks = services.records.deliveries.gauges()
    ages["planasonix_webhook_oldest_pending_age_seconds"] = (_OLDEST_PENDING, webhooks.oldest_pending_at or now)
    return [
        runs,
        *(_gauge(name, text, (now - at).total_seconds()) for name, (text, at) in ages.items()),
        _gauge("planasonix_webhook_deliveries_pending", _PENDING, webhooks.pending),
        _gauge("planasonix_webhook_deliveries_dead", _DEAD, webhooks.dead),
        *_lags(services, now=now),
    ]


def _lags(services: Services, *, now: datetime) -> Iterator[Metric]:
    try:
        lags = read_lags(services, now=now)
    except UnavailableError:  # of the code location, which knows the triggers
        return
    family = GaugeMetricFamily("planasonix_upstream_lag_seconds", _LAG, labels=["trigger_id"])
    for trigger_id, seconds in lags.items():
        family.add_metric([trigger_id], max(seconds, 0))
    yield family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=max(value, 0))


_UP = "Whether the database answers; while it does not, the figures of the runs are missing."
_RUNS = "Runs by status: those that wait, go on or are being canceled now, and those that ended in the last 24 hours."
_QUEUED = "Time that the oldest run that has not started has waited, in seconds; 0 if none waits."
_CANCELING = "Time since the oldest run that is being canceled entered that state, in seconds; 0 if there is none."
_LAG = "Time since the oldest run ended that an upstream trigger waits for and has not seen, in seconds; 0 if none did."
_HEARTBEAT = "Time since the Dagster daemon gave a sign of life, in seconds; missing if it never did."
_PENDING = "Outbound webhooks that are to be sent, or to be sent again."
_DEAD = "Outbound webhooks of the last 30 days that were given up and not sent again since."
_OLDEST_PENDING = "Time since the oldest outbound webhook that is pending was made, in seconds; 0 if there is none."
