"""The run host beside parts that are not ours: Dagster's queue, its launcher, jobs of other code locations."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import ModuleTarget

from tests.run_host import foreign
from tests.run_host.hosted import Hosted, hosted, pipeline, wait_until

pytestmark = pytest.mark.stack

DAGSTERS_QUEUE = "{module: dagster.core.run_coordinator, class: QueuedRunCoordinator}"
DAGSTERS_LAUNCHER = "run_launcher: {module: dagster, class: DefaultRunLauncher}\n"


def test_a_queue_of_others_is_left_to_them(tmp_path: Path, dagster_url: str) -> None:
    """Where Dagster's own coordinator has the queue, the host starts what that lets through, and only that."""
    with hosted(tmp_path, postgres_url=dagster_url, coordinator=DAGSTERS_QUEUE) as host:
        waiting = host.submit(pipeline("waiting"))
        run = host.create(pipeline("through"))
        ready = host.create(pipeline("ready"))
        for each in (run, ready):
            host.let_through(each)
        assert {host.until(each.run_id) for each in (run, ready)} == {"SUCCESS"}
        assert host.status(waiting) == "QUEUED"
        assert host.cancel(waiting)
        assert host.until(waiting) == "CANCELED"


def test_without_our_launcher_there_is_nothing_to_host(tmp_path: Path, dagster_url: str) -> None:
    """A host that is started beside another launcher ends, and says why, instead of starting runs a second time."""
    with hosted(tmp_path, postgres_url=dagster_url) as host:
        host.kill()
        file = host.settings.dagster_home / "dagster.yaml"
        head, _, _ = file.read_text().partition("run_launcher:")
        file.write_text(head + DAGSTERS_LAUNCHER)
        ended = subprocess.run(
            [sys.executable, "-m", "planasonix_orchestrator.run_host"],
            env=host.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert "names another run launcher than RunHostLauncher" in ended.stderr


@pytest.fixture
def host(tmp_path: Path, dagster_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    with hosted(tmp_path, postgres_url=dagster_url) as one:
        monkeypatch.setenv("DAGSTER_HOME", str(one.settings.dagster_home))
        yield one


@pytest.fixture
def workspace(host: Hosted) -> Iterator[WorkspaceRequestContext]:
    target = ModuleTarget(module_name=foreign.__name__, attribute=None, working_directory=None, location_name="foreign")
    with WorkspaceProcessContext(host.instance, target) as process:
        yield process.create_request_context()
        servers = list(code_servers())
    # Dagster only asks its code server to end, which now and then does not heed it.
    _, deaf = psutil.wait_procs(servers, timeout=5)
    for server in deaf:
        server.kill()


def code_servers() -> Iterator[psutil.Process]:
    """The code servers of `foreign` that this process has started; other tests have others."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if foreign.__name__ in child.cmdline():
                yield child


def test_jobs_of_other_code_locations_are_launched_as_by_dagster(
    host: Hosted, workspace: WorkspaceRequestContext
) -> None:
    """A job that is not of a pipeline runs in a process of its code server, and ends when its cancel is asked for."""
    short, long = (submit(host, workspace, seconds=seconds) for seconds in (0.0, 60.0))
    assert host.until(short) == "SUCCESS"
    host.until(long, "STARTED")
    wait_until(lambda: "STEP_START" in host.story(long), seconds=60, what=lambda: host.story(long))
    assert host.cancel(long)
    assert host.until(long) == "CANCELED"


def submit(host: Hosted, workspace: WorkspaceRequestContext, *, seconds: float) -> str:
    """Have Dagster submit a run, as its UI does."""
    (repository,) = workspace.get_code_location("foreign").get_repositories().values()
    job = repository.get_full_job("nightly")
    run = host.instance.create_run_for_job(
        foreign.nightly,
        run_config={"ops": {"rest": {"config": {"seconds": seconds}}}},
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
    )
    host.instance.submit_run(run.run_id, workspace)
    return run.run_id
