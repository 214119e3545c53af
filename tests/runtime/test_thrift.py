"""What we change in Dagster's daemon, webserver and code server, held against the installed ones."""

import inspect

from dagster._daemon import cli, sensor
from dagster._daemon.controller import RELOAD_WORKSPACE_INTERVAL, DagsterDaemonController
from dagster._grpc import client, server, server_watcher
from grpc import _common

from planasonix_orchestrator.runtime.code_server import SECONDS_BETWEEN_HEARTBEATS, SECONDS_BETWEEN_QUESTIONS
from planasonix_orchestrator.runtime.daemon import SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_REFRESHES
from planasonix_orchestrator.runtime.sensor_runs import in_bulk


def test_dagster_fetches_all_jobs_after_the_interval_that_we_set() -> None:
    """It looks the interval up in its module each time, so that one set before it starts counts."""
    assert "RELOAD_WORKSPACE_INTERVAL" in DagsterDaemonController.check_workspace_freshness.__code__.co_names
    assert RELOAD_WORKSPACE_INTERVAL < SECONDS_BETWEEN_REFRESHES


def test_dagster_looks_at_sensors_after_the_interval_that_we_set() -> None:
    """It looks that up in its module, too, and there it asks whether a sensor is due: both when it submits a look and
    when that begins."""
    assert "MIN_INTERVAL_LOOP_TIME" in sensor.execute_sensor_iteration_loop.__code__.co_names
    assert sensor.MIN_INTERVAL_LOOP_TIME > SECONDS_BETWEEN_LOOKS
    for asks in (sensor.execute_sensor_iteration, sensor._process_tick_generator):
        assert "is_under_min_interval" in asks.__code__.co_names


def test_dagster_asks_the_code_server_after_the_interval_that_we_set() -> None:
    """Whoever starts the thread that asks leaves the interval to the module, which is where it looks it up."""
    assert "WATCH_INTERVAL" in server_watcher.watch_grpc_server_thread.__code__.co_names
    assert server_watcher.WATCH_INTERVAL < SECONDS_BETWEEN_QUESTIONS


def test_dagster_beats_the_heart_of_the_code_after_the_interval_that_we_set() -> None:
    """It looks that up in its module, too; whoever holds the code misses two beats before it ends by itself."""
    assert "CLIENT_HEARTBEAT_INTERVAL" in client.client_heartbeat_thread.__code__.co_names
    heard_within = inspect.signature(server.open_server_process).parameters["heartbeat_timeout"].default
    assert client.CLIENT_HEARTBEAT_INTERVAL < SECONDS_BETWEEN_HEARTBEATS <= heard_within / 3


def test_dagster_starts_what_holds_the_code_by_the_name_that_we_set() -> None:
    """So that it is as thrifty as the code server that starts it."""
    assert "get_python_environment_entry_point" in server.open_server_process.__code__.co_names


def test_grpc_heeds_signals_after_the_time_that_we_set() -> None:
    """It looks that up in its module where it waits for the end of a server."""
    assert "MAXIMUM_WAIT_TIMEOUT" in _common.wait.__code__.co_names
    assert _common.MAXIMUM_WAIT_TIMEOUT < 1


def test_dagster_opens_its_daemons_where_we_give_them_connections() -> None:
    """The command finds what opens them by name, with the instance as the first argument."""
    runs_it = inspect.unwrap(cli._daemon_run_command)
    assert "daemon_controller_from_instance" in runs_it.__code__.co_names
    assert next(iter(inspect.signature(cli.daemon_controller_from_instance).parameters)) == "instance"  # type: ignore[attr-defined]


def test_dagster_creates_the_runs_of_a_sensor_where_we_do_it_in_bulk() -> None:
    """For a new tick and for one that was interrupted, by a name of its module, with what we expect."""
    for creates in (sensor._resume_tick, sensor._handle_run_requests_and_automation_condition_evaluations):
        assert "_submit_run_requests" in creates.__code__.co_names
    ours = inspect.signature(in_bulk(sensor._submit_run_requests)).parameters
    shared = [name for name in ours if name not in {"arguments", "options", "requests"}]
    assert list(inspect.signature(sensor._submit_run_requests).parameters)[1 : 1 + len(shared)] == shared
