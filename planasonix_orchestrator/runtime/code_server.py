"""Talking to Dagster's code server: which process holds the code now, and loading it anew.

The gRPC calls take an empty message, so they are made without Dagster's own client, whose import takes longer than
starting Postgres. They are defined in dagster/_grpc/protos/dagster_api.proto; the tests of the stack hold them against
the installed Dagster.
"""

import grpc
import httpx

from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME
from planasonix_orchestrator.runtime.ports import LOOPBACK

SECONDS_TO_RELOAD = 120.0
SECONDS_BETWEEN_QUESTIONS = 5  # of Dagster's parts, whether somebody has loaded the code anew
_SERVICE = "/api.DagsterApi/"
_RELOAD = "mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"


def server_id(port: int) -> bytes:
    """Return the reply that names the process which holds the code now; `grpc.RpcError` while there is none."""
    return _call("GetServerId", port=port, timeout=5.0)


def reload_code(port: int, *, webserver: str) -> None:
    """Load the code anew in a fresh process and return when that serves; runs that are under way are not touched.

    The webserver at the URL is asked to do it, since it then shows the new code at once, not up to a second later;
    where it can't, the code server is asked itself. `grpc.RpcError` if that can't either.
    """
    if not _reload_through(webserver):
        _call("ReloadCode", port=port, timeout=SECONDS_TO_RELOAD)


def _reload_through(webserver: str) -> bool:
    question = {"query": _RELOAD, "variables": {"name": CODE_LOCATION_NAME}}
    try:
        answer = httpx.post(f"{webserver}/graphql", json=question, timeout=SECONDS_TO_RELOAD, trust_env=False)
    except httpx.HTTPError:
        return False
    return "WorkspaceLocationEntry" in answer.text


def _call(method: str, *, port: int, timeout: float) -> bytes:
    with grpc.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        call = channel.unary_unary(_SERVICE + method)
        reply: bytes = call(b"", timeout=timeout)
        return reply
