"""Each file starts exactly one run, though the daemon is killed again and again."""

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from dagster import DagsterInstance
from sqlalchemy import text

from planasonix_orchestrator.dagster_defs.sensors.arrivals.record import Connect
from tests.api.waiting import wait_until
from tests.dagster_defs.arrivals.daemon import Daemons

pytestmark = pytest.mark.stack

SEED = 20261126
FILES, WAVES = 10_000, 8
PIPELINE = """
id: pl_count
name: count
variables: {{files: {{}}}}
nodes:
  - {{id: n_in, type: source.csv, config: {{path: "{{{{ files }}}}"}}}}
  - {{id: n_out, type: destination.csv, config: {{path: out.csv}}}}
edges: [{{source: n_in, target: n_out}}]
triggers:
  - id: {trigger_id}
    triggerType: file_watcher
    config:
      path: in
      detection: first_seen
      pollIntervalSeconds: 1
      batchFiles: 500
      pathsVariable: files
      pathsFormat: json
"""


def test_each_file_is_in_exactly_one_run(
    tmp_path: Path, instance: DagsterInstance, connect: Connect, trigger_id: str
) -> None:
    """10,000 files come in waves; each time a daemon is killed at some moment while it sees, decides and starts."""
    moments = random.Random(SEED)  # noqa: S311
    (tmp_path / "in").mkdir()
    (tmp_path / "count.yaml").write_text(PIPELINE.format(trigger_id=trigger_id))
    daemons = Daemons(Path(instance.root_directory), pipelines=tmp_path)
    for wave in range(WAVES):
        with daemons.running():
            for number in range(FILES // WAVES):
                (tmp_path / f"in/{wave}-{number}").touch()
            time.sleep(moments.uniform(0, 1.2))
    with daemons.running():
        wait_until(lambda: len(files_of_runs(connect, trigger_id)) >= FILES, seconds=120)
        wait_until(lambda: not open_batches(connect, trigger_id), seconds=60)
    files = files_of_runs(connect, trigger_id)
    assert [path for path, times in files.items() if times > 1] == []
    assert set(files) == {str(path) for path in (tmp_path / "in").iterdir()}
    statuses = {run.status.value for run in instance.get_runs() if run.tags.get("planasonix/trigger_id") == trigger_id}
    assert statuses == {"QUEUED"}


def files_of_runs(connect: Connect, trigger_id: str) -> Counter[str]:
    """In how many runs each path is."""
    with connect() as connection:
        bodies = connection.execute(
            text(
                "SELECT run_body FROM runs JOIN run_tags USING (run_id)"
                " WHERE key = 'planasonix/trigger_id' AND value = :trigger_id"
            ),
            {"trigger_id": trigger_id},
        ).scalars()
        configs = [json.loads(body)["run_config"] for body in bodies]
    return Counter(
        path for config in configs for path in json.loads(config["resources"]["variables"]["config"]["files"])
    )


def open_batches(connect: Connect, trigger_id: str) -> int:
    """How many batches have no run that the trigger knows of."""
    with connect() as connection:
        return int(
            connection.scalar(
                text("SELECT count(*) FROM planasonix.arrival_batches WHERE trigger_id = :trigger_id"),
                {"trigger_id": trigger_id},
            )
        )
