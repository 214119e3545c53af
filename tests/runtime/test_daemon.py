"""The daemon: what we change in Dagster's, held against the installed one."""

from dagster._daemon.controller import RELOAD_WORKSPACE_INTERVAL, DagsterDaemonController

from planasonix_orchestrator.runtime.daemon import SECONDS_BETWEEN_REFRESHES


def test_dagster_fetches_all_jobs_after_the_interval_that_we_set() -> None:
    """It looks the interval up in its module each time, so that one set before it starts counts."""
    assert "RELOAD_WORKSPACE_INTERVAL" in DagsterDaemonController.check_workspace_freshness.__code__.co_names
    assert RELOAD_WORKSPACE_INTERVAL < SECONDS_BETWEEN_REFRESHES
