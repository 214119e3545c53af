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

from benchmarks.wire import answer_size


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
            self._expected = answer_size(self._received)
        if self._expected and len(self._received) >= self._expected:
            self._taken.append(time.perf_counter() - self._sent_at)
            self._send()

    def _send(self) -> None:
        assert self._transport is not None
        self._received.clear()
        self._expected = 0
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


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
