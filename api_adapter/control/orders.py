"""What is asked for when a run is to be started, and what comes of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """The key of a request that may be sent again, and a hash of what it asks for."""

    key: str
    request_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """A run of a pipeline that is asked for. `nodes` are those that are wanted, None for all of them.

    `user` is the name of the key or user who asks, None where it is neither; `tags` are further ones that the run
    carries.
    """

    pipeline_id: str
    variables: Mapping[str, Any]
    environment_id: str | None
    nodes: Sequence[str] | None
    priority: int | None
    trigger: str
    user: str | None
    idempotency: Idempotency | None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOrder:
    """A retry of a run that is asked for: `from_failure` of what it has left undone, else of all that it was to do.

    `nodes` are all nodes of the run's graph, `succeeded` those whose results there are, its own or ones that it has
    reused. `key` is the key of the request, which asks for what `request_hash` is a hash of.
    """

    parent_id: str
    pipeline_id: str
    from_failure: bool
    nodes: Sequence[str]
    succeeded: Collection[str]
    user: str
    key: str | None
    request_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedRun:
    """A run that waits in the queue, or `replayed`: that an earlier request of the same key has started."""

    dagster_id: str
    queued_at: datetime
    replayed: bool = False
