"""``python -m planasonix_orchestrator.run_host``: the run host of the Dagster instance that DAGSTER_HOME describes."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import ExitStack, suppress

from dagster import DagsterInstance

from planasonix_orchestrator.run_host.announcements import listen
from planasonix_orchestrator.run_host.host import HostPolicy, RunHost
from planasonix_orchestrator.run_host.launcher import RunHostLauncher
from planasonix_orchestrator.run_host.ledger import Ledger
from planasonix_orchestrator.run_host.queue import RunQueue
from planasonix_orchestrator.run_host.storage import open_host_instance
from planasonix_orchestrator.settings import DAGSTER_HOME_VARIABLE, POSTGRES_URL_VARIABLE, load_settings

_PATIENCE_SECONDS = 1.0  # the host looks again by itself


def main() -> None:
    """Look after runs until SIGTERM; those in flight live on, and are found again by the next host."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    home = os.environ[DAGSTER_HOME_VARIABLE]
    with ExitStack() as opened:
        instance = opened.enter_context(open_host_instance(home, patience=_PATIENCE_SECONDS))
        policy = read_policy(instance)
        if policy is None:
            sys.exit(f"{home}/dagster.yaml names another run launcher than RunHostLauncher: there is nothing to host.")
        with suppress(asyncio.CancelledError):
            asyncio.run(_host(Ledger(instance), policy=policy, postgres_url=os.environ[POSTGRES_URL_VARIABLE]))


def read_policy(instance: DagsterInstance) -> HostPolicy | None:
    """Return how dagster.yaml wants runs to be treated; None if it has others launch them."""
    launcher, queue = instance.run_launcher, instance.run_coordinator
    if not isinstance(launcher, RunHostLauncher):
        return None
    return HostPolicy(
        max_concurrent_runs=queue.max_concurrent_runs if isinstance(queue, RunQueue) else None,
        grace_seconds=launcher.grace_seconds,
        memory_limit=launcher.memory_limit,
        warm_workers=launcher.warm_workers,
    )


async def _host(ledger: Ledger, *, policy: HostPolicy, postgres_url: str) -> None:
    settings = load_settings()
    host = RunHost(ledger, settings=settings, policy=policy)
    hosting = asyncio.create_task(host.run())
    listening = asyncio.create_task(listen(postgres_url, heard=host.wake))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, hosting.cancel)
    try:
        await hosting
    finally:
        listening.cancel()


if __name__ == "__main__":
    main()
