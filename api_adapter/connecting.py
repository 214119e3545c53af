"""How our pools connect to Postgres, and how their sessions plan a statement only once."""

import re
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

_MOST_PREPARED = 200  # each takes some memory of the session; callers that ask for odd limits may make many
_PARAMETER = re.compile(r"%\((\w+)\)s")


def connect_args(name: str, *, options: str) -> dict[str, Any]:
    """Return the driver's arguments: `name` is told to the server, `options` are settings of the session (``-c a=b``).

    A server that has vanished without a word is noticed within seconds.
    """
    return {
        "connect_timeout": 3,
        "application_name": name,
        "options": options,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }


def prepare(cursor: Any, statement: str, *, prepared: MutableMapping[str, str]) -> str:
    """Return how a statement with parameters as ``%(name)s`` is called in a session, which prepares it the first time.

    `prepared` belongs to the session: how each statement is called there.
    """
    call = prepared.get(statement)
    if call is None:
        if len(prepared) == _MOST_PREPARED:
            cursor.execute("DEALLOCATE ALL")
            prepared.clear()
        text, names = _numbered(statement)
        name = f"read_{len(prepared)}"
        cursor.execute(f"PREPARE {name} AS {text}")
        values = ", ".join(f"%({one})s" for one in names)
        call = f"EXECUTE {name} ({values})" if names else f"EXECUTE {name}"
        prepared[statement] = call
    return call


@lru_cache(maxsize=1024)
def _numbered(statement: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement with numbered parameters, as sessions prepare it, and the names of these in their order."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(statement)))
    return _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement), names
