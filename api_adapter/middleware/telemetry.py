"""What this process counts of its own work: answers and open streams, in a registry that belongs to one application."""

import os

from prometheus_client import CollectorRegistry, Gauge, Histogram

# From what a fast read takes to what a statement may take at most.
_BUCKETS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"  # methods that a caller has made up must not each become a series
_UNMATCHED = "unmatched"


class Telemetry:
    """The figures of one process, in `registry`.

    Each series carries the process (`worker`), since of several workers any one may answer a scrape.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.worker = str(os.getpid())
        self._latency = Histogram(
            "planasonix_http_request_duration_seconds",
            "Time from the arrival of a request to the beginning of its answer, in seconds.",
            ("worker", "method", "route", "status"),
            registry=self.registry,
            buckets=_BUCKETS,
        )
        streams = Gauge(
            "planasonix_open_streams",
            "Answers that are being sent part by part now, as logs are.",
            ("worker",),
            registry=self.registry,
        )
        self._streams = streams.labels(self.worker)
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str | None, status: int, *, seconds: float) -> None:
        """Count an answer to a request that matched `route`, a path template, or None of them."""
        key = (method if method in _METHODS else _OTHER, route or _UNMATCHED, status)
        child = self._children.get(key)
        if child is None:  # looking it up by labels takes far longer than counting
            child = self._children[key] = self._latency.labels(self.worker, *map(str, key))
        child.observe(seconds)

    def stream_began(self) -> None:
        """Count one open stream more."""
        self._streams.inc()

    def stream_ended(self) -> None:
        """Count one open stream less."""
        self._streams.dec()
