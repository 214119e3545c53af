"""Where things stand in a file: faults, JSON paths, and the map from a path to line and column."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planasonix_orchestrator.errors import Problem

MAX_DEPTH = 100  # of lists and mappings in each other; no pipeline comes near
DocumentPath = tuple[str | int, ...]
_PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A problem that does not know its file yet: it stands at a path, or, if nothing has a path, at an offset."""

    code: str
    message: str
    path: DocumentPath = ()
    hint: str | None = None
    offset: int | None = None


class SourceMap:
    """The text of a file, and for every path in it the place where it begins.

    A member of a mapping begins at its key, an item of a list at the item itself.
    """

    def __init__(self, text: str, *, offsets: Mapping[DocumentPath, int] | None = None) -> None:
        self._text = text
        self._offsets = offsets or {}

    def locate(self, path: DocumentPath) -> tuple[int, int] | None:
        """Return line and column (from 1) of a path, or of its nearest parent that exists; None in an empty file."""
        for length in range(len(path), -1, -1):
            offset = self._offsets.get(path[:length])
            if offset is not None:
                return self._position(offset)
        return None

    def problem(self, fault: Fault, *, file: Path | None) -> Problem:
        """Return the fault as a problem of this file, with line, column and JSON path."""
        position = self.locate(fault.path) if fault.offset is None else self._position(fault.offset)
        line, column = position or (None, None)
        return Problem(
            code=fault.code,
            message=fault.message,
            file=str(file) if file else None,
            line=line,
            column=column,
            path=json_path(fault.path),
            hint=fault.hint,
        )

    def _position(self, offset: int) -> tuple[int, int]:
        start = self._text.rfind("\n", 0, offset) + 1
        return self._text.count("\n", 0, offset) + 1, offset - start + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSource:
    """What a file holds, as JSON values. Faults of a readable file leave `data` whole but for what they speak of."""

    data: Any
    source: SourceMap
    faults: tuple[Fault, ...] = ()
    readable: bool = True


def json_path(path: DocumentPath) -> str:
    """Return a path as people write it: ``$.nodes[2].config.table``."""
    return "$" + "".join(_json_path_part(part) for part in path)


def _json_path_part(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_KEY.fullmatch(part) else f"[{part!r}]"


def duplicate_key(key: str, *, path: DocumentPath, offset: int) -> Fault:
    """Return the fault of a key that stands twice in one mapping."""
    return Fault(
        code="duplicate_key",
        message=f"key {key!r} stands twice in one mapping",
        path=path,
        hint="keep one of them",
        offset=offset,
    )
