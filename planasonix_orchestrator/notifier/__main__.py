"""``python -m planasonix_orchestrator.notifier``: sends outbound webhooks until SIGTERM."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress

from planasonix_orchestrator.notifier.notifier import Notifier
from planasonix_orchestrator.notifier.retries import load_policy
from planasonix_orchestrator.settings import POSTGRES_URL_VARIABLE, InvalidSettingError, load_settings


def main() -> None:
    """Tell the endpoints of webhooks.yaml what happens to runs."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, which may be secrets
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    with suppress(asyncio.CancelledError):
        asyncio.run(_notify())


async def _notify() -> None:
    try:
        policy = load_policy(os.environ)
    except InvalidSettingError as error:
        sys.exit(str(error))
    notifier = Notifier(load_settings(), postgres_url=os.environ[POSTGRES_URL_VARIABLE], environment=os.environ)
    working = asyncio.create_task(notifier.run(policy=policy))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    await working


if __name__ == "__main__":
    main()
