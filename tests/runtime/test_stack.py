"""The whole stack, with real Dagster: it heals, follows its files, stops clean, and finds its history again."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.notifier.receiver import SECRET, receiving
from tests.runtime.stack import PLANASONIX, Stack, wait_until

pytestmark = pytest.mark.stack
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that all tests of this module share; each leaves it well."""
    stack = Stack(tmp_path_factory.mktemp("stack"), environment={**os.environ, "HOOK_SECRET": SECRET})
    yield stack
    stack.end()


@pytest.fixture(scope="module")
def earlier(stack: Stack) -> str:
    """A run that succeeded before any part was killed."""
    return stack.run_once()


@pytest.mark.parametrize("name", ["api", "webserver", "daemon", "run-host", "notifier", "code-server", "postgres"])
def test_a_killed_part_comes_back_with_history_intact(stack: Stack, earlier: str, name: str) -> None:
    """After kill -9 of any single part the earlier run is still told, and a new one succeeds."""
    backs = stack.told().count(f"{name} is back")
    (pid,) = [process.pid for process in stack.processes() if process.pid == current_pid(stack, name)]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: stack.told().count(f"{name} is back") > backs, what=stack.told)
    wait_until(lambda: stack.status(earlier) == "succeeded")
    wait_until(lambda: stack.api("/readyz") is not None, what=lambda: stack.api("/livez"))
    stack.run_once()
    assert len(code_holders(stack)) == 1, "the code server that was killed has left a process"


def code_holders(stack: Stack) -> list[int]:
    """The processes that hold the code for the code server."""
    found = []
    for process in stack.processes():
        with suppress(psutil.NoSuchProcess):  # one that has just ended
            found += [process.pid] if " api grpc " in " ".join(process.cmdline()) else []
    return found


def current_pid(stack: Stack, name: str) -> int:
    """The process id of a part now: the one of the table, or the last that the console heard of."""
    backs = [line for line in stack.told().splitlines() if line.startswith(f"{name} is back")]
    return int(backs[-1].partition("(pid ")[2].rstrip(").")) if backs else int(stack.parts[name]["pid"])


def test_a_pipeline_follows_its_file(stack: Stack) -> None:
    """A pipeline added, edited or removed on disk is so in Dagster and the API, without a restart."""
    file = stack.pipelines / "new.yaml"
    text = (stack.pipelines / "copy.yaml").read_text().replace("pl_copy", "pl_new")
    for name in ("first_name", "second_name"):
        file.write_text(text.replace("name: copy", f"name: {name}"))
        wait_until(lambda name=name: name in stack.job_names(), what=stack.job_names)  # type: ignore[misc]
        wait_until(lambda name=name: (stack.api("/api/pipelines/pl_new") or {}).get("name") == name)  # type: ignore[misc]
    file.unlink()
    wait_until(lambda: stack.job_names() == {"copy"}, what=stack.job_names)
    wait_until(lambda: [each["id"] for each in stack.api("/api/pipelines")["data"]] == ["pl_copy"])


def test_a_broken_file_is_reported_and_harms_no_other(stack: Stack) -> None:
    """The console and the API name the place in the broken file; the other pipeline still runs."""
    broken = stack.pipelines / "broken.yaml"
    broken.write_text("id: pl_broken\nname: broken\nnodes:\n  - {id: n_x, type: source.cvs}\n")
    wait_until(lambda: f"{broken}:4:" in stack.told(), what=stack.told)
    wait_until(lambda: any(p["file"] == str(broken) for p in stack.api("/api/pipelines")["meta"]["problems"]))
    stack.run_once()
    broken.unlink()
    wait_until(lambda: stack.api("/api/pipelines")["meta"]["problems"] == [])


def test_a_pipeline_follows_another(stack: Stack) -> None:
    """Its run starts soon after the other's success, long before the sensor is due by itself; both name each other."""
    trigger = "{id: trg_follow, triggerType: upstream, config: {pipelineId: pl_copy}}"
    text = (
        (stack.pipelines / "copy.yaml")
        .read_text()
        .replace("pl_copy", "pl_follow")
        .replace("name: copy", "name: follow")
    )
    file = stack.pipelines / "follow.yaml"
    file.write_text(text.replace("out.csv", "follow.csv") + f"triggers:\n  - {trigger}\n")
    lag = 'planasonix_upstream_lag_seconds{trigger_id="trg_follow"} '

    def told() -> str:
        return httpx.get(stack.parts["api"]["url"] + "/metrics", headers=stack.headers, timeout=10).text

    wait_until(lambda: f"{lag}0.0" in told(), what=told)
    parent = stack.run_once()
    wait_until(lambda: bool(stack.api(f"/api/runs/{parent}")["triggeredRuns"]), seconds=30)
    (child,) = stack.api(f"/api/runs/{parent}")["triggeredRuns"]
    assert child["pipelineId"] == "pl_follow"
    wait_until(lambda: stack.status(child["id"]) == "succeeded", what=lambda: stack.status(child["id"]))
    run = stack.api(f"/api/runs/{child['id']}")
    assert run["trigger"] == {
        "type": "sensor",
        "sensor": "trg_follow",
        "triggerId": "trg_follow",
        "upstreamRunId": parent,
    }
    file.unlink()
    wait_until(lambda: stack.job_names() == {"copy"}, what=stack.job_names)


def test_a_file_that_arrives_starts_a_run(stack: Stack) -> None:
    """The run reads it by the path that it was given, and tells what started it."""
    incoming = stack.pipelines / "arrivals"
    incoming.mkdir()
    text = (stack.pipelines / "copy.yaml").read_text()
    for old, new in (("pl_copy", "pl_taken"), ("name: copy", "name: taken"), ("out.csv", "taken.csv")):
        text = text.replace(old, new)
    config = "{path: arrivals, detection: first_seen, pollIntervalSeconds: 1, batchFiles: 1, pathsVariable: file}"
    text = text.replace("path: in.csv", 'path: "{{ file }}"') + "variables: {file: {}}\ntriggers:\n"
    file = stack.pipelines / "taken.yaml"
    file.write_text(f"{text}  - {{id: trg_taken, triggerType: file_watcher, config: {config}}}\n")
    wait_until(lambda: "taken" in stack.job_names(), what=stack.job_names)
    (stack.pipelines / "whole.csv").write_text("id\n7\n")
    (stack.pipelines / "whole.csv").rename(incoming / "seven.csv")

    def runs() -> list[dict[str, Any]]:
        answer = stack.api("/api/runs?pipelineId=pl_taken")
        return list(answer["data"]) if answer else []

    wait_until(lambda: [run["status"] for run in runs()] == ["succeeded"], what=lambda: (runs(), stack.told()))
    assert (stack.pipelines / "taken.csv").read_text() == "id\n7\n"
    run = stack.api(f"/api/runs/{runs()[0]['id']}")
    assert run["trigger"] == {"type": "sensor", "sensor": "trg_taken", "triggerId": "trg_taken"}
    file.unlink()
    wait_until(lambda: stack.job_names() == {"copy"}, what=stack.job_names)


def test_the_world_is_told_of_runs(stack: Stack) -> None:
    """An endpoint in the folder gets signed messages of runs that succeed and that fail, as the API tells them."""
    lost = (stack.pipelines / "copy.yaml").read_text().replace("copy", "lost").replace("in.csv", "nowhere.csv")
    (stack.pipelines / "lost.yaml").write_text(lost)
    endpoint = {"secret": {"env": "HOOK_SECRET"}, "pipelines": ["pl_copy", "pl_lost"]}
    with receiving() as receiver:
        file = stack.pipelines / "webhooks.yaml"
        file.write_text(json.dumps({"endpoints": {"ops": {"url": receiver.url("ops"), **endpoint}}}))
        wait_until(lambda: stack.api("/api/webhooks/endpoints/ops") is not None)
        wait_until(lambda: stack.api("/api/pipelines/pl_lost") is not None)
        copied = stack.run_once()
        failed = stack.start_run("pl_lost")
        wait_until(lambda: len(receiver.got("ops")) == 4, what=lambda: receiver.told("ops"))
        assert all(each.verified for each in receiver.got("ops"))
        for run_id, end in ((copied, "run.succeeded"), (failed, "run.failed")):
            started, message = (each for each in receiver.got("ops") if each.run_id == run_id)
            assert (started.type, message.type) == ("run.started", end)
            run, data = stack.api(f"/api/runs/{run_id}"), message.message["data"]
            same = data.keys() & run.keys() - {"error", "durationSeconds"}
            assert same >= {"id", "pipelineId", "pipelineName", "status", "trigger", "startedAt", "finishedAt"}
            assert {key: data[key] for key in same} == {key: run[key] for key in same}
            assert data["error"] == (run["error"] and {key: run["error"][key] for key in ("message", "code", "nodeId")})
        file.unlink()
    (stack.pipelines / "lost.yaml").unlink()


def test_a_second_stack_on_the_same_state_is_refused(stack: Stack) -> None:
    """The message names the process that holds the directory, and the first stack does not notice."""
    command = [PLANASONIX, "up", "--state", str(stack.state), "--pipelines", str(stack.pipelines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"pid {stack.process.pid}" in done.stderr
    assert stack.process.poll() is None


@pytest.mark.parametrize("home", ["the state directory", "the top of the checkout"])
def test_plain_dagster_works_with_the_printed_exports(stack: Stack, home: str) -> None:
    """With `planasonix env`, Dagster's own command lists the jobs, from our templates as they stand."""
    script = f'eval "$({PLANASONIX} env --state {stack.state})"\n'
    if home == "the top of the checkout":
        script += f"export DAGSTER_HOME='{REPOSITORY}'\n"
    script += f'exec {sys.executable} -m dagster job list -w "$DAGSTER_HOME/workspace.yaml"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert "Job: copy" in done.stdout, done.stderr


def test_the_first_start_makes_a_key(stack: Stack) -> None:
    """The key is printed once, kept for its owner alone, never an argument, in no log, and opens the API."""
    kept = stack.state / "api-key"
    key = kept.read_text(encoding="ascii").strip()
    assert stack.first_key == key
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert key not in " ".join(arguments_of(stack))
    assert key not in stack.told()
    assert key not in "".join(log.read_text(errors="replace") for log in (stack.state / "logs").glob("*.log"))
    assert stack.api("/api/pipelines")["meta"]["total"] == 1
    listed = subprocess.run(
        [PLANASONIX, "keys", "list", "--state", str(stack.state)], capture_output=True, text=True, check=True
    )
    (line,) = listed.stdout.splitlines()
    assert line.split("\t")[1:3] == ["first key", key[:22]]


def test_pipelines_are_run_on_the_command_line(stack: Stack) -> None:
    """With nothing but the state directory, which says where the API is and holds a key."""
    command = [PLANASONIX, "run", "copy", "--state", str(stack.state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "n_out succeeded  2 rows" in done.stderr
    assert stack.status(done.stdout.strip()) == "succeeded"


def test_the_url_of_postgres_is_in_no_command_line(stack: Stack) -> None:
    """Secrets travel in the environment: no argument of any process holds the URL."""
    assert not [argument for argument in arguments_of(stack) if "postgresql://" in argument]


def arguments_of(stack: Stack) -> list[str]:
    """The arguments of all processes of a stack, which everybody on the machine may read."""
    seen = []
    for process in stack.processes():
        with suppress(psutil.NoSuchProcess):  # one that has just ended
            seen += process.cmdline()
    assert seen
    return seen


def test_it_stops_clean_even_when_killed_and_starts_with_its_history(stack: Stack) -> None:
    """SIGTERM ends everything within 10 s, SIGKILL of the supervisor too; the next start tells the runs of before."""
    run_id = stack.run_once()
    stack.end(by=signal.SIGKILL)  # this test is the last: the shared stack has served
    second = Stack(stack.state.parent)
    assert second.status(run_id) == "succeeded"
    assert (stack.first_key is not None, second.first_key) == (True, None)
    pids = {process.pid for process in second.processes()}
    assert second.end() < 10
    assert second.process.returncode == 0
    assert [process for process in second.processes() if process.pid in pids] == []
    assert not (second.state / "postgres" / "postmaster.pid").exists()
