"""``python -m planasonix_orchestrator.runtime.daemon run``: Dagster's daemon, without its hunger for pipelines.

Once a minute Dagster's daemon fetches every job from the code server, one by one, whether or not anything has changed:
with 1,000 pipelines that keeps a tenth of a core busy for good. It learns of each reload of the code server from a
thread that watches it besides, so that the look at all of it is needed only in case that thread has missed something.
"""

from dagster._daemon import controller
from dagster._daemon.cli import main

SECONDS_BETWEEN_REFRESHES = 900

if __name__ == "__main__":
    # Private, and the only way: no setting says it. A test holds the name against the installed Dagster.
    controller.RELOAD_WORKSPACE_INTERVAL = SECONDS_BETWEEN_REFRESHES
    main()
