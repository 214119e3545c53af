"""How our pools connect to Postgres."""

from typing import Any


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
