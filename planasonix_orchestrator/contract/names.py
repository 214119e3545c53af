"""Names that Dagster accepts for names that users chose: a reversible escape, so no mapping table is needed.

Dagster takes ``[A-Za-z0-9_]+`` less a list of reserved words. Every other character is written ``_x<hex>_``
(``load-data`` is ``load_x2d_data``), a reserved word gets an underscore (``input`` is ``input_``), and what a user
wrote that looks like either has its underscore escaped, so that two names never meet.
"""

import keyword
import re

# dagster._core.definitions.utils.DISALLOWED_NAMES, repeated here because this room must not import Dagster;
# tests/contract/test_names.py compares the two.
RESERVED: frozenset[str] = frozenset(
    {
        "arg_dict",
        "conf",
        "config",
        "context",
        "dict",
        "float",
        "input",
        "input_arg_dict",
        "int",
        "meta",
        "output",
        "output_arg_dict",
        "str",
        "bool",
        "type",
        *keyword.kwlist,
    }
)

_REFUSED = re.compile(r"[^A-Za-z0-9_]|_(?=x[0-9a-f]+(?:_|[^A-Za-z0-9_]))")
_ESCAPE = re.compile(r"_x([0-9a-f]+)_")


def encode_name(name: str) -> str:
    """Return the Dagster name of a pipeline, node or port; `decode_name` gives the original back."""
    if not name:
        raise ValueError("a name must have at least one character")
    if name in RESERVED:
        return name + "_"
    if _is_marked(name):
        return name[:-1] + _escape("_")
    return _REFUSED.sub(lambda match: _escape(match.group()), name)


def decode_name(dagster_name: str) -> str:
    """Return the user's name; a name that `encode_name` did not make comes back as it is."""
    if _is_marked(dagster_name):
        return dagster_name[:-1]
    return _ESCAPE.sub(lambda match: _character(match.group()), dagster_name)


def _is_marked(name: str) -> bool:
    return name.endswith("_") and name[:-1] in RESERVED


def _escape(character: str) -> str:
    return f"_x{ord(character):x}_"


def _character(escape: str) -> str:
    code = int(escape[2:-1], 16)
    return chr(code) if code < 0x110000 else escape
