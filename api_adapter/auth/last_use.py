"""Notes when keys were last used, behind the back of the requests that use them."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Lock

from api_adapter.errors import UnavailableError
from api_adapter.records import ApiKey, Keys
from api_adapter.records.keys import TOUCH_EVERY

logger = logging.getLogger("api_adapter")


class LastUse:
    """Writes the last use of a key at most once a minute, from a thread of its own."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="last-use")
        self._waiting: set[str] = set()
        self._lock = Lock()

    def note(self, key: ApiKey, *, at: datetime) -> None:
        """Have the use written, unless it was written within the last minute; returns at once."""
        if key.last_used_at is not None and at - key.last_used_at < TOUCH_EVERY:
            return
        with self._lock:
            if key.id in self._waiting:
                return
            self._waiting.add(key.id)
        self._writer.submit(self._write, key.id, at)

    def close(self) -> None:
        """Write what still waits."""
        self._writer.shutdown()

    def _write(self, key_id: str, at: datetime) -> None:
        try:
            self._keys.touch(key_id, at=at)
        except UnavailableError as error:
            logger.warning("the last use of key %s was not noted: %s", key_id, error)
        finally:
            with self._lock:
                self._waiting.discard(key_id)
