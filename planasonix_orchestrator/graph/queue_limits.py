"""How many runs go on at once of a pipeline and in an environment, read from the files without checking them.

Whoever takes runs from the queue asks often, so a file is read again only when it has changed, and parsed only if it
sets a limit. What the checks say of a file does not matter here: its runs may be in the queue already.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planasonix_orchestrator.graph.beside import ENVIRONMENTS_FILES
from planasonix_orchestrator.graph.json_source import parse_json
from planasonix_orchestrator.graph.loading import is_pipeline_file
from planasonix_orchestrator.graph.yaml_source import parse_members

_KEY = "maxConcurrentRuns"
_SECONDS_BETWEEN_LOOKS = 1.0
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """The limits that are set, by pipeline id and by environment id; and the environment of runs that name none."""

    by_pipeline: Mapping[str, int] = field(default_factory=dict)
    by_environment: Mapping[str, int] = field(default_factory=dict)
    default_environment: str | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a file said when it was last read; `stamp` changes when the file does."""

    stamp: _Stamp
    data: Mapping[str, Any]


class FolderLimits:
    """The limits of a pipelines folder. A change is seen by the first `read` that comes at least a second later."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._looked_at = float("-inf")
        self._seen: dict[str, _Seen] = {}
        self._limits = QueueLimits()

    def read(self) -> QueueLimits:
        """Return the limits. A file that can't be read, because it is being written, say, keeps those that it had."""
        now = self._clock()
        if now - self._looked_at >= _SECONDS_BETWEEN_LOOKS:
            self._looked_at = now
            if self._look():
                self._limits = self._gather()
        return self._limits

    def _look(self) -> bool:
        """Read what has changed, and tell whether anything has."""
        stamps = dict(_stamps(str(self._folder), top=True))
        changed = {path for path, stamp in stamps.items() if path not in self._seen or self._seen[path].stamp != stamp}
        gone = self._seen.keys() - stamps.keys()
        for path in gone:
            del self._seen[path]
        for path in changed:
            data = _read(Path(path))
            before = self._seen[path].data if path in self._seen else {}
            self._seen[path] = _Seen(stamps[path], before if data is None else data)
        return bool(changed or gone)

    def _gather(self) -> QueueLimits:
        files = [path for name in ENVIRONMENTS_FILES if (path := str(self._folder / name)) in self._seen]
        environments = self._seen[files[0]].data if files else {}
        pipelines = [each.data for path, each in self._seen.items() if path not in files]
        by_id, default = environments.get("environments"), environments.get("default")
        return QueueLimits(
            by_pipeline=dict(_limits((data.get("id"), data) for data in pipelines)),
            by_environment=dict(_limits(by_id.items() if isinstance(by_id, Mapping) else ())),
            default_environment=default if isinstance(default, str) else None,
        )


def _stamps(folder: str, *, top: bool) -> Iterator[tuple[str, _Stamp]]:
    """Yield every pipeline file under a folder, and the environments of the top one, with what tells a change."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # it was removed meanwhile
        return
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith("."):
            yield from _stamps(entry.path, top=False)
        elif is_pipeline_file(entry.name) or (top and entry.name in ENVIRONMENTS_FILES):
            try:
                status = entry.stat()
            except OSError:
                continue
            yield entry.path, (status.st_mtime_ns, status.st_size, status.st_ino)


def _read(file: Path) -> Mapping[str, Any] | None:
    """Return the members of a file that matter here; none if it sets no limit, None if it can't be read."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    keys = ("environments", "default") if file.name in ENVIRONMENTS_FILES else ("id", _KEY)
    if "id" in keys and _KEY not in text:
        return {}
    if file.suffix.lower() != ".json":
        return parse_members(text, keys=keys)
    data = parse_json(text).data
    return data if isinstance(data, Mapping) else None


def _limits(places: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, int]]:
    for id_, place in places:
        limit = place.get(_KEY) if isinstance(place, Mapping) else None
        if isinstance(id_, str) and isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            yield id_, limit
