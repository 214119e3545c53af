"""What tests have started is gone when they are, even if somebody has killed them."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.runtime.stack import wait_until

REPOSITORY = Path(__file__).resolve().parents[1]
TEST = """
import subprocess
from pathlib import Path

def test_that_is_killed():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path("pid.part").write_text(str(child.pid))
    Path("pid.part").rename("pid")
    child.wait()
"""


@pytest.mark.stack
def test_a_killed_session_leaves_no_process(tmp_path: Path) -> None:
    """The guard of its folder ends what the session has started, in whatever process group that is."""
    (tmp_path / "test_killed.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "test_killed.py"]
    command += ["--basetemp", str(tmp_path / "temporary")]  # which nobody would remove
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as session:
        wait_until((tmp_path / "pid").exists, what=lambda: session.poll())
        pid = int((tmp_path / "pid").read_text())
        assert psutil.pid_exists(pid)
        session.kill()
    wait_until(lambda: not psutil.pid_exists(pid))
