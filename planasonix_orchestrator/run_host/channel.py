"""The socket between two processes of the host, over which small JSON messages travel whole, with descriptors."""

import json
import socket
from collections.abc import Mapping
from typing import Any

_LONGEST = 64_000  # bytes of a message


def open_channel() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a new channel; each message is received as one, or not at all."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: Mapping[str, Any], *, descriptors: tuple[int, ...] = ()) -> None:
    """Send a message; `OSError` if nobody is there to receive it."""
    socket.send_fds(end, [json.dumps(message).encode()], descriptors)


def receive(end: socket.socket, *, most_descriptors: int = 0) -> tuple[dict[str, Any] | None, list[int]]:
    """Return the next message and its descriptors, waiting for it; None once the other end is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(end, _LONGEST, most_descriptors)
    except ConnectionResetError:
        return None, []
    return (json.loads(data) if data else None), descriptors
