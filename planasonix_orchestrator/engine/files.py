"""Files as nodes see them: finding the ones to read, and the table functions of DuckDB that read them."""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlglot import exp

from planasonix_orchestrator.errors import NodeError

OptionValue = bool | int | str | Sequence[str] | Mapping[str, str]

_MAGIC = re.compile(r"([*?[])")


def resolve_path(path: str, *, base: Path) -> Path:
    """Return the path, absolute and without dots: `~` is the home folder, a relative path starts at `base`."""
    return Path(os.path.normpath(base / Path(path).expanduser()))  # not resolved: links stay as the user wrote them


def find_files(path: str, *, base: Path, suffix: str | None = None) -> tuple[Path, ...]:
    """Return the files that a path or glob (`*`, `?`, `[]`, `**`) names, sorted; `NodeError` if there is none.

    A folder stands for the files anywhere in it that end in `suffix`, where one is given. Hidden files never match.
    """
    pattern = resolve_path(path, base=base)
    if pattern.is_file():
        return (pattern,)
    if pattern.is_dir():
        if suffix is None:
            raise NodeError(f"{pattern} is a folder", hint=f"name a file in it, or all with a glob: {path}/*")
        found = glob.iglob(glob.escape(str(pattern)) + f"/**/*{suffix}", recursive=True)  # noqa: PTH207
        absent = f"no file in the folder {pattern} ends in {suffix}"
    elif _MAGIC.search(path):
        # Unlike pathlib's, this glob skips hidden files; the base folder stands for itself, whatever its characters.
        found = glob.iglob(str(Path(path).expanduser()), root_dir=base, recursive=True)  # noqa: PTH207
        absent = f"no file matches {pattern}"
    else:
        raise NodeError(f"file {pattern} does not exist", hint=f"relative paths start at {base}")
    files = tuple(sorted(base / file for file in found if (base / file).is_file()))
    if not files:
        raise NodeError(absent, hint=f"relative paths start at {base}")
    return files


def total_bytes(files: Sequence[Path]) -> int:
    """Return the sum of the sizes of files."""
    return sum(file.stat().st_size for file in files)


def read_files(function: str, files: Sequence[Path], **options: OptionValue) -> exp.Select:
    """Return ``SELECT * FROM function([files], option = value, ...)``, everything quoted."""
    names = exp.array(*(exp.Literal.string(_literally(file)) for file in files), copy=False)
    arguments = [exp.EQ(this=exp.to_identifier(name), expression=_literal(value)) for name, value in options.items()]
    return exp.select("*").from_(exp.Anonymous(this=function, expressions=[names, *arguments]))


def _literally(file: Path) -> str:
    """Return the name as a DuckDB glob that matches this file only."""
    return _MAGIC.sub(r"[\1]", str(file))


def _literal(value: OptionValue) -> exp.Expr:
    if isinstance(value, Mapping):
        # DuckDB wants a struct here, not a map; sqlglot quotes the keys.
        pairs = ((exp.to_identifier(key, quoted=True), exp.Literal.string(text)) for key, text in value.items())
        return exp.Struct(expressions=[exp.PropertyEQ(this=key, expression=text) for key, text in pairs])
    if isinstance(value, bool | int | str):
        return exp.convert(value)
    return exp.array(*(exp.Literal.string(text) for text in value))
