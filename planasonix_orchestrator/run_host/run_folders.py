"""What the host keeps on disk of each run it has taken: which process works on it, and what to clean up after it.

The folder outlives the host, so that the next one finds the runs of the last. It is on disk rather than in Postgres
because it is about processes, which are of this machine and go with it.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from planasonix_orchestrator.run_host.processes import ProcessId


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        """The Dagster id of the run."""
        return self.path.name

    @property
    def temporary(self) -> Path:
        """Where the run's process puts temporary files."""
        return self.path / "tmp"

    @property
    def parts(self) -> Path:
        """The list of unfinished files and folders that the run's destinations have begun, a line each."""
        return self.path / "parts"

    @property
    def process(self) -> ProcessId | None:
        """The process that works on the run; None if none has been given it."""
        try:
            told = json.loads((self.path / "process").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return ProcessId(**told)

    def assign(self, process: ProcessId) -> None:
        """Note the process before it is told to begin, so that no process is ever at work unnoticed."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        unfinished = self.path / "process.new"
        unfinished.write_text(json.dumps(asdict(process)), encoding="utf-8")
        unfinished.replace(self.path / "process")

    def remove(self, *, spill: Path) -> None:
        """Remove all that the run has left, its part files and spilled rows too."""
        for part in self._unfinished_parts():
            _remove(part)
        _remove(spill / self.run_id)
        _remove(self.path)

    def _unfinished_parts(self) -> Iterator[Path]:
        try:
            lines = self.parts.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        yield from (Path(json.loads(line)) for line in lines if line.endswith('"'))  # the last may be cut off


@dataclass(frozen=True, slots=True)
class RunFolders:
    """The folders of all runs that the host has taken and not yet brought to an end."""

    root: Path

    def of(self, run_id: str) -> RunFolder:
        """Return the folder of a run, which need not exist."""
        return RunFolder(self.root / run_id)

    def __iter__(self) -> Iterator[RunFolder]:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.scandir(self.root) as entries:
            return iter([RunFolder(Path(entry.path)) for entry in entries if entry.is_dir()])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
