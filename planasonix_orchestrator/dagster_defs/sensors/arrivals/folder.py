"""A folder that this machine can see, as a place where files arrive."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from planasonix_orchestrator.dagster_defs.sensors.arrivals.place import Listing, PlaceError
from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Arrival
from planasonix_orchestrator.graph.globs import Selection


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and those below it. Links to files are followed, links to folders are not.

    A file's version is its time of modification and its size. Files that are removed meanwhile are not told.
    """

    path: Path
    selection: Selection

    @property
    def address(self) -> str:
        """The folder's path."""
        return str(self.path)

    def look(self, known: Mapping[str, str]) -> Listing:
        """Look at every file's time and size. `PlaceError` if the folder, or one in it, can't be read."""
        # Runs for each of a hundred thousand files, which is why it calls so little.
        versions: dict[str, str] = {}
        arrivals: list[Arrival] = []
        unusable: list[str] = []
        has = self.selection.has
        begin = len(self.address.rstrip("/")) + 1
        for entry in self._files():
            path = entry.path
            before = known.get(path)
            if before is None and not has(path[begin:]):
                continue
            try:
                stat = entry.stat()
            except FileNotFoundError:
                continue
            version = f"{stat.st_mtime_ns}-{stat.st_size}"
            if version != before:
                if not path.isprintable() and not _is_text(path):
                    unusable.append(repr(path))
                    continue
                arrivals.append(Arrival(path, version, stat.st_size, stat.st_mtime))
            versions[path] = version
        return Listing(versions=versions, arrivals=arrivals, unusable=unusable)

    def _files(self) -> Iterator["os.DirEntry[str]"]:
        ahead = [(self.address, 0)]
        while ahead:
            folder, depth = ahead.pop()
            try:
                entries = os.scandir(folder)
            except OSError as error:
                if depth and isinstance(error, FileNotFoundError):
                    continue
                raise PlaceError(
                    folder, f"the folder can't be read: {error.strerror}", hint="mend it, or the trigger's path"
                ) from error
            with entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if self._may_hold(entry.name, depth=depth):
                            ahead.append((entry.path, depth + 1))
                    elif entry.is_file():
                        yield entry

    def _may_hold(self, name: str, *, depth: int) -> bool:
        deep = self.selection.depth is None or depth < self.selection.depth
        return deep and (self.selection.hidden or not name.startswith("."))


def _is_text(path: str) -> bool:
    """Tell whether a path is valid UTF-8: others can be stored in no database and passed to no run."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
