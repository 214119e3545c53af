"""Ids of runs that follow from what asked for them: whoever asks again, or at the same moment, means the same run."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid5

_NAMESPACE: Final = UUID("5d1c9d6e-6b0a-4f0c-9a3e-0c8f7e1b2a44")


def run_id_of_key(pipeline_id: str, key: str) -> str:
    """Return the Dagster id of the run of a pipeline that a request with this idempotency key starts."""
    return _id("start", pipeline_id, key)


def run_id_of_retry(parent_run_id: str, number: int) -> str:
    """Return the Dagster id of the retry of a run that follows `number` others of it, which have ended."""
    return _id("retry", parent_run_id, str(number))


def run_id_of_retry_key(parent_run_id: str, key: str) -> str:
    """Return the Dagster id of the retry of a run that a request with this idempotency key starts."""
    return _id("retry-key", parent_run_id, key)


def backfill_uuid_of_key(pipeline_id: str, key: str) -> str:
    """Return the UUID of the backfill of a pipeline that a request with this idempotency key starts."""
    return _id("backfill", pipeline_id, key)


def run_id_of_slice(backfill_id: str, number: int) -> str:
    """Return the Dagster id of the first run of a backfill's slice, by its place in the order of running."""
    return _id("slice", backfill_id, str(number))


def run_id_of_node(parent_run_id: str, node_id: str, number: int) -> str:
    """Return the Dagster id of the run that a node of a run starts, after `number` others that it started in vain."""
    return _id("node", parent_run_id, node_id, str(number))


def hash_request(request: Mapping[str, Any]) -> str:
    """Return a hash of what was asked for, the same for the same JSON, however it was written."""
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(canonical.encode()).hexdigest()


def _id(*parts: str) -> str:
    # As JSON, so that no two lists of parts are one text, and in ASCII, which can write half a surrogate pair.
    return str(uuid5(_NAMESPACE, json.dumps(parts)))
