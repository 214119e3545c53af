"""Schemathesis over the OpenAPI document: thousands of requests, right and wrong, alone and in sequences.

Whatever is asked, the answer is of a declared status, media type and shape, and never a failure of the service.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from dagster import DagsterInstance
from dagster._daemon.types import DaemonHeartbeat

from tests.api import served
from tests.api.conftest import admin_key
from tests.api.making import execute

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
# A run that nobody executes is waited for to the last second, and Schemathesis waits for an answer for 10.
CONFIG = """
[headers]
Authorization = "Bearer ${API_KEY}"
[parameters]
"query.wait" = 0.1
"""


@pytest.fixture(scope="module")
def alive(instance: DagsterInstance, client: httpx.Client) -> Iterator[httpx.Client]:
    """The API with a daemon that has just given a sign of life, and runs of several kinds."""
    until = datetime.now(UTC).timestamp() + 3600  # these tests may take longer than a sign of life counts
    instance.add_daemon_heartbeat(DaemonHeartbeat(until, "SCHEDULER", daemon_id="1", errors=[]))
    for job in (served.crm_to_warehouse, served.failing, served.nightly):
        execute(job, instance=instance)
    yield client
    # The other tests of this process share this Dagster, in which triggers and schedules were switched at random.
    for state in instance.all_instigator_state():
        instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)


def fuzz(client: httpx.Client, *, folder: Path, key: str, examples: int, phases: str) -> tuple[int, str]:
    """Let Schemathesis loose on the API with this key; return how many requests it made, and what it reports."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    report = folder / "report.ndjson"
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", str(client.base_url.join("/openapi.json"))]
    command += ["--phases", phases, "--checks", ",".join(CHECKS), "--max-examples", str(examples)]
    command += ["--report", "ndjson", "--report-ndjson-path", str(report), "--generation-deterministic"]
    command += ["--no-color", "--suppress-health-check", "all", "--warnings", "off"]
    environment = {**os.environ, "API_KEY": key}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    return count_requests(report), "" if done.returncode == 0 else done.stdout[-20_000:] + done.stderr[-5_000:]


def count_requests(report: Path) -> int:
    """The requests in a report of events, one JSON object a line."""

    def count(value: object) -> int:
        if isinstance(value, dict):
            interactions = value.get("interactions")
            mine = len(interactions) if isinstance(interactions, dict | list) else 0
            return mine + sum(count(inner) for name, inner in value.items() if name != "interactions")
        return sum(count(inner) for inner in value) if isinstance(value, list) else 0

    return sum(count(json.loads(line)) for line in report.read_text(encoding="utf-8").splitlines())


@pytest.mark.stack
def test_no_request_is_answered_otherwise_than_declared(alive: httpx.Client, tmp_path: Path, database_url: str) -> None:
    """With a key that may do everything: no 5xx, no undocumented status, no answer that breaks its schema."""
    number, report = fuzz(
        alive, folder=tmp_path, key=admin_key(database_url), examples=25, phases="examples,coverage,fuzzing,stateful"
    )
    assert not report, report
    assert number >= 2000


@pytest.mark.stack
def test_strangers_are_answered_as_declared_too(alive: httpx.Client, tmp_path: Path) -> None:
    """Without a valid key every closed route answers 401 (or 429 after too many failures), whatever else is wrong."""
    number, report = fuzz(alive, folder=tmp_path, key="plnx_live_unknown", examples=1, phases="coverage")
    assert not report, report
    assert number >= 1000
