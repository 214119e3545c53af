"""Ports on the loopback interface: the wished one, or a free one."""

import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"


def choose_port(wished: int, *, taken: Collection[int] = ()) -> int:
    """Return the wished port if it is free and not among `taken`, else a free one; 0 wishes for any."""
    for port in (wished, *([0] * (len(taken) + 1))):
        chosen = _bind(port)
        if chosen is not None and chosen not in taken:
            return chosen
    raise OSError(f"no free port on {LOOPBACK}")


def _bind(port: int) -> int | None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return None
        chosen: int = server.getsockname()[1]
        return chosen
