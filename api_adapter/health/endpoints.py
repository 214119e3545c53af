"""``/livez``, ``/readyz`` and ``/metrics``, for supervisors and monitoring; at the root, without a version."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response, Security

from api_adapter.auth import GuardedRoute, Principal, Requirement, Scope, public
from api_adapter.dependencies import ServicesDependency
from api_adapter.errors import UnavailableError
from api_adapter.health.metrics import write_metrics
from api_adapter.health.schemas import Liveness, Readiness
from api_adapter.health.service import check_readiness
from api_adapter.responses import declare

router = APIRouter(route_class=GuardedRoute, tags=["health"])
_AT_ROOT: dict[str, Any] = {"servers": [{"url": "/"}]}


@router.get("/livez", operation_id="getLiveness", dependencies=[public()], openapi_extra=_AT_ROOT)
async def get_liveness() -> Liveness:
    """Answer as long as the process does; looks at nothing else."""
    return Liveness()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    dependencies=[public()],
    openapi_extra=_AT_ROOT,
    responses=declare(503, s503="A part is away; `details` say which and why."),
)
def get_readiness(services: ServicesDependency) -> Readiness:
    """Tell whether Postgres with a known schema, the Dagster daemon and the code location are there."""
    return Readiness(checks=check_readiness(services))


class _UnlessAway(Requirement):
    """Lets everybody in while nobody can be identified, because the database is away: monitoring must hear of that.

    Who comes in this way has no scopes, and is told nothing of any run.
    """

    async def admit(self, request: Request) -> Principal:
        try:
            return await super().admit(request)
        except UnavailableError:
            return Principal(kind="key", id="", name="", scopes=frozenset())


_SCRAPES = _UnlessAway(Scope.PIPELINES_READ, every_pipeline=True)
_EXAMPLE = 'planasonix_database_up 1.0\nplanasonix_runs{status="running"} 2.0\n'


@router.get(
    "/metrics",
    operation_id="getMetrics",
    openapi_extra=_AT_ROOT,
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}},
        **declare(401, 403, 429),
    },
)
def get_metrics(
    request: Request,
    services: ServicesDependency,
    *,
    principal: Annotated[Principal, Security(_SCRAPES, scopes=[Scope.PIPELINES_READ.value])],
) -> Response:
    """Return the figures for Prometheus, also while the database is away: then without those of runs."""
    telemetry, accept = request.app.state.telemetry, request.headers.get("accept", "")
    body, media_type = write_metrics(services if principal.scopes else None, telemetry=telemetry, accept=accept)
    return Response(body, media_type=media_type)
