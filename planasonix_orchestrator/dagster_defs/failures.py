"""A node's error as Dagster's failure, which says in its metadata and by its class what kind of failure it is.

The classes are there because Dagster keeps the metadata only of an attempt that is the last; of one that is tried again
it keeps no more than the chain of errors, with the names of their classes. See `contract.metadata`.
"""

from typing import NoReturn

from dagster import Failure, MetadataValue, RetryRequested

from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.dagster_defs.reporting import usage_metadata
from planasonix_orchestrator.dagster_defs.usage import Usage
from planasonix_orchestrator.errors import FaultCode, NodeError, TerminalNodeError, UpstreamNodeError

_SECONDS_BEFORE_RETRY = 1.0  # doubled with each further attempt
_LONGEST_WAIT = 60.0  # a canceled run sees the cancellation at the end of the wait


class NodeFailure(Failure):
    """A node that can't do its work."""


class NodeTimeoutFailure(Failure):
    """A node that took longer than it may."""


class NodeMemoryFailure(Failure):
    """A node that needs more memory than there is for it."""


class NodePolicyFailure(Failure):
    """A node that refuses by a rule."""


_CLASSES: dict[FaultCode, type[Failure]] = {
    "node_error": NodeFailure,
    "timeout": NodeTimeoutFailure,
    "out_of_memory": NodeMemoryFailure,
    "policy": NodePolicyFailure,
}


def raise_failure(error: Exception, *, retries: int, attempt: int, usage: Usage | None = None) -> NoReturn:
    """Raise what Dagster needs for an error of a node's `attempt` (counted from 0): the failure, or another attempt.

    `usage` is what the attempt has cost.

    A retry policy on the op would do that, too, but Dagster applies it to the interrupt of a canceled run as well: it
    runs the node again instead of stopping.
    """
    failure = build_failure(error, usage=usage) if isinstance(error, NodeError) else error
    fault = error.fault if isinstance(error, UpstreamNodeError) else error
    if attempt < retries and not isinstance(fault, TerminalNodeError):
        wait = min(_SECONDS_BEFORE_RETRY * 2**attempt, _LONGEST_WAIT)
        raise RetryRequested(max_retries=retries, seconds_to_wait=wait) from failure
    raise failure


def build_failure(error: NodeError, *, usage: Usage | None = None) -> Failure:
    """Return a node's error as a failure: its words, code and cost, and the node at fault if that is another one."""
    facts = usage_metadata(usage) if usage is not None else {}
    facts[metadata.ERROR_CODE] = MetadataValue.text(error.code)
    if isinstance(error, UpstreamNodeError):
        facts[metadata.ERROR_NODE] = MetadataValue.text(error.node_id)
    failure = _CLASSES[error.code](str(error), metadata=facts)
    failure.__cause__ = error
    return failure
