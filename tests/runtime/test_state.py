"""Who holds the state directory."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from planasonix_orchestrator.runtime.errors import AlreadyRunningError, NotRunningError
from planasonix_orchestrator.runtime.state import StackRecord, locked, read_record, write_record

RECORD = StackRecord(pipelines="/pipelines", api_url="http://127.0.0.1:8000", code_server_port=4266, embedded=True)
HOLDER = """
import sys
from pathlib import Path
from planasonix_orchestrator.runtime.state import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_directory_that_is_held_is_refused_with_the_pid(tmp_path: Path) -> None:
    """The error names the process to stop and the option to use instead."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunningError, match=f"kill {holder.pid}.*--state") as caught, locked(tmp_path):
            pass
        assert caught.value.pid == holder.pid
        holder.kill()
    with locked(tmp_path):
        pass


def test_a_new_directory_is_its_owners_alone(tmp_path: Path) -> None:
    """Whatever umask there is: it holds a key, data, and code that is run."""
    umask = os.umask(0)
    try:
        with locked(tmp_path / "above" / "state"):
            assert stat.S_IMODE((tmp_path / "above" / "state").stat().st_mode) == 0o700
    finally:
        os.umask(umask)


def test_the_record_is_read_while_the_directory_is_held(tmp_path: Path) -> None:
    """What a running stack publishes comes back as it was."""
    with locked(tmp_path):
        write_record(tmp_path, record=RECORD)
        assert read_record(tmp_path) == RECORD


def test_the_record_of_a_stack_that_is_gone_is_not_read(tmp_path: Path) -> None:
    """Neither an unused directory nor one that nobody holds any more has a stack to reach."""
    with pytest.raises(NotRunningError, match="planasonix up"):
        read_record(tmp_path)
    with locked(tmp_path):
        with pytest.raises(NotRunningError):
            read_record(tmp_path)
        write_record(tmp_path, record=RECORD)
    with pytest.raises(NotRunningError):
        read_record(tmp_path)
