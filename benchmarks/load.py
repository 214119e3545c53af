"""The load generator: a process that keeps many connections busy with one request, and costs little itself.

    python -m benchmarks.load PORT CLIENTS SECONDS < request

Prints, as JSON, how many answers came within the time and the sorted seconds that each took. Every answer must have
the status 200 and a Content-Length.
"""

import asyncio
import json
import sys
import time
from typing import Any

_LENGTH = b"content-length:"


class _Connection(asyncio.Protocol):
    """Sends the request again as soon as the answer is complete, until it is told to stop."""

    def __init__(self, request: bytes, *, taken: list[float]) -> None:
        self._request = request
        self._taken = taken
        self._received = bytearray()
        self._expected = 0
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._expected:
            self._expected = _size(self._received)
        if self._expected and len(self._received) >= self._expected:
            self._taken.append(time.perf_counter() - self._sent_at)
            self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._received.clear()
        self._expected = 0
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def _size(received: bytearray) -> int:
    """Return the size of the answer that has begun to arrive, or 0 if that can't be told yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = bytes(received[:end])
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"not a success: {bytes(received[:500])!r}")
    (length,) = (line for line in head.lower().split(b"\r\n") if line.startswith(_LENGTH))
    return end + 4 + int(length.removeprefix(_LENGTH))


async def generate(request: bytes, *, port: int, clients: int, seconds: float) -> list[float]:
    """Return how long each request took that was answered within the time."""
    loop = asyncio.get_running_loop()
    failed = loop.create_future()

    def fail(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not failed.done():
            failed.set_exception(context.get("exception") or RuntimeError(str(context)))

    loop.set_exception_handler(fail)
    taken: list[float] = []
    connections = [
        await loop.create_connection(lambda: _Connection(request, taken=taken), "127.0.0.1", port)
        for _ in range(clients)
    ]
    try:
        await asyncio.wait_for(failed, timeout=seconds)
    except TimeoutError:
        return list(taken)
    finally:
        for transport, _protocol in connections:
            transport.abort()
    raise AssertionError


def main() -> None:
    """Do what the command line asks for."""
    port, clients, duration = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    request = sys.stdin.buffer.read()
    taken = asyncio.run(generate(request, port=port, clients=clients, seconds=duration))
    print(json.dumps({"answers": len(taken), "seconds": sorted(taken)}))


if __name__ == "__main__":
    main()
