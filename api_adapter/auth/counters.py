"""Where `limits` keeps its counts: in this process's memory.

The library's own memory storage starts a thread for every hit that comes 10 ms after the one before, which takes
0.2 ms; here, what has expired is removed by those who count.
"""

import time
from collections.abc import Callable
from threading import Lock

from limits.storage import Storage

_SWEEP_SECONDS = 10.0


class CounterStorage(Storage):
    """Counts in fixed windows, each of which begins with its first hit and lasts as long by `clock`, which nobody sets.

    By the time of day, a window would stay open for an hour longer once that is set back by an hour.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = Lock()
        self._windows: dict[str, tuple[float, int]] = {}  # when it ends (by the clock), how many
        self._sweep_at = 0.0

    @property
    def base_exceptions(self) -> type[Exception]:
        """What a storage may raise when it is away: this one never is."""
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, in a new window of `expiry` seconds if there is none, and return the count."""
        now = self._clock()
        with self._lock:
            if now >= self._sweep_at:
                self._windows = {name: window for name, window in self._windows.items() if window[0] > now}
                self._sweep_at = now + _SWEEP_SECONDS
            end, count = self._windows.get(key, (0.0, 0))
            if end <= now:
                end, count = now + expiry, 0
            self._windows[key] = end, count + amount
            return count + amount

    def get(self, key: str) -> int:
        """Return the count of the window that is open; 0 if none is."""
        end, count = self._windows.get(key, (0.0, 0))
        return count if end > self._clock() else 0

    def get_expiry(self, key: str) -> float:
        """Return when the open window ends, in unix seconds; now if none is open."""
        end, _ = self._windows.get(key, (0.0, 0))
        return time.time() + max(0.0, end - self._clock())

    def check(self) -> bool:
        """Tell that the storage is there."""
        return True

    def reset(self) -> int | None:
        """Forget all counts and return how many there were."""
        with self._lock:
            forgotten, self._windows = len(self._windows), {}
        return forgotten

    def clear(self, key: str) -> None:
        """Forget one count."""
        with self._lock:
            self._windows.pop(key, None)
