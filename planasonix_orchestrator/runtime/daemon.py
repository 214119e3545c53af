"""``python -m planasonix_orchestrator.runtime.daemon run``: Dagster's daemon, thrifty, and quick where it matters.

Once a minute Dagster's daemon fetches every job from the code server, one by one, whether or not anything has changed:
with 1,000 pipelines that keeps a tenth of a core busy for good. It learns of each reload of the code server from a
thread that watches it besides, so that the look at all of it is needed only in case that thread has missed something.
That thread asks the code server each second, which together with the webserver's costs as much as all else at rest.

It opens a connection to Postgres for each statement, which takes most of the time of a sensor's look: here connections
stay open. It creates the runs that a sensor asks for one by one: here many at once. And it looks every second whether a
sensor is due; that of an upstream trigger is, as soon as a run has ended that it waits for.

And it measures how long runs take by the time of day, which somebody may set: here by a clock that nobody can. Where it
waits for a time of day that was put off, it starts anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster import DagsterInstance
from dagster._core.remote_representation.external import RemoteSensor
from dagster._core.scheduler.instigation import InstigatorState
from dagster._daemon import cli, controller, sensor
from dagster._daemon.controller import daemon_controller_from_instance
from dagster._daemon.monitoring import run_monitoring
from dagster._grpc import server_watcher

from planasonix_orchestrator.runtime.code_server import SECONDS_BETWEEN_QUESTIONS
from planasonix_orchestrator.runtime.news import UpstreamNews
from planasonix_orchestrator.runtime.run_limits import SeenFor, limiting_runtime, limiting_start
from planasonix_orchestrator.runtime.sensor_runs import in_bulk
from planasonix_orchestrator.runtime.set_clock import end_when_set_back, has_looked_ahead

SECONDS_BETWEEN_REFRESHES = 900
SECONDS_BETWEEN_LOOKS = 1
_MILLISECONDS_OF_A_STATEMENT = 60_000
_SECONDS_OF_A_CONNECTION = 3600
_FURTHER_CONNECTIONS = 20

_stock_interval = sensor.is_under_min_interval


@contextmanager
def _open_controller(instance: DagsterInstance, *arguments: Any, **options: Any) -> Iterator[Any]:
    instance.optimize_for_webserver(
        _MILLISECONDS_OF_A_STATEMENT, pool_recycle=_SECONDS_OF_A_CONNECTION, max_overflow=_FURTHER_CONNECTIONS
    )
    news = UpstreamNews(instance)

    def is_under_min_interval(
        state: InstigatorState, remote_sensor: RemoteSensor, minimum_allowed_min_interval: int | None = None
    ) -> bool:
        early = _stock_interval(state, remote_sensor, minimum_allowed_min_interval)
        return early and not has_looked_ahead(state) and not news.is_for(remote_sensor, state)

    sensor.is_under_min_interval = is_under_min_interval
    with daemon_controller_from_instance(instance, *arguments, **options) as opened:
        yield opened


if __name__ == "__main__":
    # Private, and the only way: no setting says it. Tests hold the names against the installed Dagster.
    controller.RELOAD_WORKSPACE_INTERVAL = SECONDS_BETWEEN_REFRESHES
    sensor.MIN_INTERVAL_LOOP_TIME = SECONDS_BETWEEN_LOOKS
    sensor._submit_run_requests = in_bulk(sensor._submit_run_requests)  # noqa: SLF001  (as above)
    run_monitoring.monitor_starting_run = limiting_start(run_monitoring.monitor_starting_run, seen_for=SeenFor())
    run_monitoring.check_run_timeout = limiting_runtime(run_monitoring.check_run_timeout, seen_for=SeenFor())
    server_watcher.WATCH_INTERVAL = SECONDS_BETWEEN_QUESTIONS
    cli.daemon_controller_from_instance = _open_controller  # type: ignore[attr-defined]
    end_when_set_back()
    cli.main()
