"""A buffer that hands on what is added to it in batches, in order, from a thread of its own."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

EntryT = TypeVar("EntryT")


@dataclass(slots=True)
class Batch(Generic[EntryT]):
    """Entries to be written together. `witness` is the writer's, to know again what it may have written already."""

    entries: list[EntryT]
    witness: object = None


class EventBuffer(Generic[EntryT]):
    """Hands batches to `write`: `delay` seconds after their first entry at the latest, or when `most` entries wait.

    A batch that could not be written is tried again before any later one; those who wait get the error of an attempt
    that has begun since. Writing in a thread of its own keeps it whole: an interrupt of the run reaches the main thread
    only. The thread starts with the first entry, so until then, and after `close`, the process can be forked.
    """

    def __init__(self, write: Callable[[Batch[EntryT]], None], *, delay: float = 0.1, most: int = 500) -> None:
        self._write = write
        self._delay = delay
        self._most = most
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._waiting: list[EntryT] = []
        self._batch: Batch[EntryT] | None = None
        self._due = 0.0
        # Entries are counted as they come: somebody waits for all up to the wanted one.
        self._added = self._wanted = self._written = 0
        self._begun = self._ended = 0  # attempts to write
        self._error: BaseException | None = None

    def add(self, entry: EntryT, *, wait: bool = False) -> None:
        """Add an entry; with `wait`, return when it and all before it are written, or raise why they are not."""
        with self._changed:
            self._waiting.append(entry)
            self._added += 1
            if len(self._waiting) == 1:
                self._due = time.monotonic() + self._delay
                self._changed.notify_all()
            if self._thread is None:
                self._start()
            if wait or len(self._waiting) >= self._most:
                self._await(self._added)

    def flush(self) -> None:
        """Return when all entries are written, or raise why they are not."""
        if threading.current_thread() is self._thread:
            return  # what it writes may read, which flushes
        with self._changed:
            if self._written < self._added:
                self._await(self._added)

    def close(self) -> None:
        """Write all entries and end the thread, or raise why they are not written; a later entry starts it again."""
        with self._changed:
            thread = self._thread
            self._closing = True
            self._changed.notify_all()
        if thread is not None:
            thread.join()
        if self._written < self._added and self._error is not None:
            raise self._error

    def _start(self) -> None:
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="event-buffer", daemon=True)
        self._thread.start()

    def _await(self, position: int) -> None:
        self._wanted = position
        self._changed.notify_all()
        before = self._begun
        self._changed.wait_for(
            lambda: self._written >= position or (self._error and (self._ended > before or self._thread is None))
        )
        if self._written < position and self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            try:
                self._write(batch)
            except BaseException as error:  # those who wait are told; the thread must outlive it
                self._settle(batch, error=error)
            else:
                self._settle(batch, error=None)

    def _take(self) -> Batch[EntryT] | None:
        """Wait until a batch is to be written, and return it; None when the thread is to end."""
        with self._changed:
            while not self._is_time():
                if self._closing:
                    self._thread = None
                    self._changed.notify_all()
                    return None
                is_idle = self._batch is None and not self._waiting
                self._changed.wait(None if is_idle else max(0.0, self._due - time.monotonic()))
            if self._batch is None:
                self._batch, self._waiting = Batch(self._waiting), []
            self._begun += 1
            return self._batch

    def _is_time(self) -> bool:
        if self._batch is None and not self._waiting:
            return False
        if self._closing:
            return self._error is None
        return self._wanted > self._written or time.monotonic() >= self._due

    def _settle(self, batch: Batch[EntryT], *, error: BaseException | None) -> None:
        with self._changed:
            self._ended += 1
            self._error = error
            if error is None:
                self._written += len(batch.entries)
                self._batch = None
            else:
                self._wanted = self._written  # those who waited are told
                self._due = time.monotonic() + self._delay
            self._changed.notify_all()
