"""Followers of a run: a process that keeps many event streams open and notes how late each line comes.

    python -m benchmarks.followers PORT FOLLOWERS LINES < request

Lines hold `at <monotonic seconds>;`, the moment of their making by the clock that all processes of a machine share; at
0 for the first line of the run. Prints `ready` when every follower has had that one, and in the end, as JSON, the
seconds that lines took to each follower which were made since the start of this process: once all have had so many of
them, or the patience is at an end.
"""

import asyncio
import json
import re
import sys
import time

PATIENCE = 30.0  # seconds
_MADE_AT = re.compile(rb"at (\d+\.\d+);")
_LONGEST = 64  # bytes that a moment may take, where an answer is cut in two


class Crowd:
    """The followers together: who has had the first line, and how late lines came that were made since `start`."""

    def __init__(self, *, followers: int, lines: int, start: float) -> None:
        self._start = start
        self.late: list[float] = []
        self.ready = asyncio.Event()
        self.done = asyncio.Event()
        self._waiting = followers
        self._expected = followers * lines

    def take(self, made_at: float, *, now: float) -> None:
        """Note a line that has come to one of them."""
        if not made_at:
            self._waiting -= 1
            if self._waiting == 0:
                self.ready.set()
        elif made_at > self._start:
            self.late.append(now - made_at)
            if len(self.late) == self._expected:
                self.done.set()


class _Follower(asyncio.Protocol):
    """Reads one stream."""

    def __init__(self, request: bytes, *, crowd: Crowd) -> None:
        self._request = request
        self._crowd = crowd
        self._rest = b""
        self._started = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self._started and not data.startswith(b"HTTP/1.1 200 "):
            print(data[:500].decode(errors="replace"), file=sys.stderr)
        self._started = True
        text = self._rest + data
        end = 0
        for found in _MADE_AT.finditer(text):
            self._crowd.take(float(found[1]), now=now)
            end = found.end()
        self._rest = text[max(end, len(text) - _LONGEST) :]


async def follow(request: bytes, *, port: int, followers: int, lines: int) -> list[float]:
    """Follow the stream that the request opens, and return how late lines came."""
    crowd = Crowd(followers=followers, lines=lines, start=time.monotonic())
    loop = asyncio.get_running_loop()
    streams = [
        await loop.create_connection(lambda: _Follower(request, crowd=crowd), "127.0.0.1", port)
        for _ in range(followers)
    ]
    await asyncio.wait_for(crowd.ready.wait(), timeout=PATIENCE)
    print("ready", flush=True)
    try:
        await asyncio.wait_for(crowd.done.wait(), timeout=PATIENCE)
    except TimeoutError:
        print(f"only {len(crowd.late)} lines came", file=sys.stderr)
    for transport, _protocol in streams:
        transport.close()
    return crowd.late


def main() -> None:
    """Do what the command line asks for."""
    port, followers, lines = (int(word) for word in sys.argv[1:])
    request = sys.stdin.buffer.read()
    print(json.dumps(asyncio.run(follow(request, port=port, followers=followers, lines=lines))), flush=True)


if __name__ == "__main__":
    main()
