"""Globs over relative paths: which files of a folder or a bucket count for a trigger."""

import re
from collections.abc import Callable, Iterable, Iterator

_NOT_HIDDEN = r"(?!\.)"
_WILD = frozenset("*?[")


class Selection:
    """The files that one of the `include` globs names and none of the `exclude` globs.

    `*` and `?` stand for characters of one name, `[a-z]` and `[!a-z]` for one of them, `**` as a whole part for any
    number of folders, at the end for any file at any depth. As in a shell, a wildcard at the begin of a part does not
    stand for a name that begins with a dot, except in `exclude`.
    """

    def __init__(self, *, include: Iterable[str], exclude: Iterable[str]) -> None:
        globs = tuple(include)
        parts = [part for glob in globs for part in glob.split("/")]
        self.depth = None if "**" in parts else max(glob.count("/") for glob in globs)
        """How many folders lie between the place and a file at most; None for any number."""
        self.hidden = any(part.startswith(".") for part in parts)
        """Whether files in hidden folders may count."""
        self._included = _compiled(globs, hidden=_NOT_HIDDEN)
        self._excluded = _compiled(exclude, hidden="")

    def has(self, path: str) -> bool:
        """Tell whether the file with this path, relative and with slashes, counts."""
        return self._included(path) is not None and self._excluded(path) is None


def check_glob(glob: str) -> str:
    """Return the glob; `ValueError` says what is wrong with one that names nothing, or nothing inside."""
    if glob.startswith("/") or ".." in glob.split("/"):
        raise ValueError(f"{glob!r} must be relative and lead to no place outside")
    try:
        _compiled([glob], hidden="")
    except re.error as error:
        raise ValueError(f"{glob!r} is no glob: {error.msg}") from error
    return glob


def _compiled(globs: Iterable[str], *, hidden: str) -> Callable[[str], re.Match[str] | None]:
    patterns = [f"(?:{_pattern(glob.split('/'), hidden=hidden)})" for glob in globs]
    return re.compile("|".join(patterns) or "(?!)", re.DOTALL).fullmatch


def _pattern(parts: list[str], *, hidden: str) -> str:
    *folders, name = parts
    text = "".join(f"(?:{hidden}[^/]*/)*" if part == "**" else f"{_of_part(part, hidden=hidden)}/" for part in folders)
    return text + (f"(?:{hidden}[^/]*/)*{hidden}[^/]+" if name == "**" else _of_part(name, hidden=hidden))


def _of_part(part: str, *, hidden: str) -> str:
    return (hidden if part[:1] in _WILD else "") + "".join(_of_characters(part))


def _of_characters(part: str) -> Iterator[str]:
    place = 0
    while place < len(part):
        character = part[place]
        end = part.find("]", place + 2 + (part[place + 1 : place + 2] == "!")) if character == "[" else -1
        if end > 0:
            listed = part[place + 1 : end]
            negated = listed.startswith("!")
            yield f"(?!/)[{'^' if negated else ''}{_escaped(listed.removeprefix('!'))}]"
            place = end
        else:
            yield {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
        place += 1


def _escaped(listed: str) -> str:
    """Return the characters of a set such that only the minus sign of a range means something."""
    return re.sub(r"([\\\]\[^&~|])", r"\\\1", listed)
