"""Talking to Dagster's code server: the two calls of its gRPC interface that the supervisor needs.

Both take an empty message, so they are made without Dagster's own client, whose import takes longer than starting
Postgres. They are defined in dagster/_grpc/protos/dagster_api.proto; a test holds them against the installed Dagster.
"""

import grpc

from planasonix_orchestrator.runtime.ports import LOOPBACK

SECONDS_TO_RELOAD = 120.0
_SERVICE = "/api.DagsterApi/"


def server_id(port: int) -> bytes:
    """Return the reply that names the process which holds the code now; `grpc.RpcError` while there is none."""
    return _call("GetServerId", port=port, timeout=5.0)


def reload_code(port: int) -> None:
    """Load the code anew in a fresh process and return when that serves; running pipelines are not touched."""
    _call("ReloadCode", port=port, timeout=SECONDS_TO_RELOAD)


def _call(method: str, *, port: int, timeout: float) -> bytes:
    with grpc.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        call = channel.unary_unary(_SERVICE + method)
        reply: bytes = call(b"", timeout=timeout)
        return reply
