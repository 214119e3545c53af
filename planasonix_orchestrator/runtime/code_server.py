"""``python -m planasonix_orchestrator.runtime.code_server code-server start``: Dagster's code server, thrifty.

And talking to it: which process holds the code now, and loading it anew. The gRPC calls take an empty message, so they
are made without Dagster's own client, whose import takes longer than starting Postgres. They are defined in
dagster/_grpc/protos/dagster_api.proto; the tests of the stack hold them against the installed Dagster.
"""

from collections.abc import Sequence

import grpc
import httpx

from planasonix_orchestrator.contract.metadata import CODE_LOCATION_NAME
from planasonix_orchestrator.runtime.ports import LOOPBACK

SECONDS_TO_RELOAD = 120.0
SECONDS_BETWEEN_QUESTIONS = 5  # of Dagster's parts, whether somebody has loaded the code anew
SECONDS_BETWEEN_HEARTBEATS = 10  # to the process that holds the code, which ends by itself after 30 without
_SECONDS_TO_HEED_SIGNALS = 1.0
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


def serve() -> None:
    """Run Dagster's command line with the arguments of this process, and so the process that it starts for the code.

    Each call costs its server a millisecond of CPU, since gRPC's threads look around for a while after it: a heartbeat
    a second keeps nine of them busy for good.
    """
    from dagster import _cli
    from dagster._grpc import client, server

    # Private, and the only way: no setting says it. Tests hold the names against the installed libraries.
    client.CLIENT_HEARTBEAT_INTERVAL = SECONDS_BETWEEN_HEARTBEATS
    server.get_python_environment_entry_point = _entry_point  # type: ignore[attr-defined]
    grpc._common.MAXIMUM_WAIT_TIMEOUT = _SECONDS_TO_HEED_SIGNALS  # noqa: SLF001  (as above)
    _cli.main()


def _entry_point(executable_path: str) -> Sequence[str]:
    return [executable_path, "-m", __spec__.name]


if __name__ == "__main__":
    serve()
