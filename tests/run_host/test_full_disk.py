"""A disk that is really full: a small one under the folder of spilled rows, in a namespace of the host's own."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.run_host.hosted import hosted

pytestmark = pytest.mark.stack

_MOUNT = 'mkdir -p "$0" && mount -t tmpfs -o size=8m none "$0" && exec "$@"'
ROWS = 3_000_000


def test_a_run_that_fills_the_disk_fails_and_leaves_nothing(
    tmp_path: Path, dagster_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, the file that was there before is as it was, the space is free again, and the next run succeeds."""
    monkeypatch.setenv("PLANASONIX_MEMORY_LIMIT", "60MB")
    spill = tmp_path / "state/spill"
    mapped = [] if os.getuid() == 0 else ["--map-root-user"]  # who is not root may mount as one in the namespace
    wrapper = ["unshare", *mapped, "--mount", "sh", "-c", _MOUNT, str(spill)]
    with hosted(tmp_path, postgres_url=dagster_url, wrapper=wrapper) as host:
        written = host.settings.pipelines / "out.csv"
        written.write_text("as before")
        run_id = host.submit(sorting(ROWS))
        assert host.until(run_id) == "FAILURE", host.story(run_id)
        assert "available disk space on the drive" in host.story(run_id), host.story(run_id)
        assert [path.name for path in host.settings.pipelines.iterdir()] == ["out.csv"]
        assert written.read_text() == "as before"
        assert host.host is not None
        inside = Path(f"/proc/{host.host.pid}/root") / spill.relative_to("/")
        assert inside.is_mount()
        assert list(inside.iterdir()) == []
        assert host.until(host.submit(sorting(1000))) == "SUCCESS"
        assert len(written.read_text().splitlines()) == 1001


def sorting(rows: int) -> dict[str, Any]:
    """A document that sorts so many rows and writes them over a file."""
    nodes = [
        {"id": "n_rows", "type": "source.work", "config": {"rows": rows}},
        {"id": "n_wide", "type": "transform.sql", "config": {"query": "SELECT md5(n::VARCHAR) AS n FROM input"}},
        {"id": "n_sort", "type": "transform.sort", "config": {"keys": [{"column": "n"}]}},
        {"id": "n_out", "type": "destination.csv", "config": {"path": "out.csv"}},
    ]
    edges = [{"source": one["id"], "target": other["id"]} for one, other in pairwise(nodes)]
    return {"id": "pl_sorting", "name": "sorting", "nodes": nodes, "edges": edges}
