"""``/livez``, ``/readyz`` and ``/metrics``, for supervisors and monitoring; at the root, without a version."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from api_adapter.auth import GuardedRoute, Principal, Scope, public, requires
from api_adapter.dependencies import ServicesDependency
from api_adapter.health.metrics import write_metrics
from api_adapter.health.schemas import Liveness, Readiness
from api_adapter.health.service import check_readiness
from api_adapter.responses import declare, json_response

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
    response_model=Readiness,
    responses=declare(503, s503="A part is away; `details` say which and why."),
)
def get_readiness(services: ServicesDependency) -> Response:
    """Tell whether Postgres with a known schema, the Dagster daemon and the code location are there."""
    return json_response(Readiness(checks=check_readiness(services)))


_EXAMPLE = 'planasonix_database_up 1.0\nplanasonix_runs{status="running"} 2.0\n'


@router.get(
    "/metrics",
    operation_id="getMetrics",
    openapi_extra=_AT_ROOT,
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}},
        **declare(401, 403, 429, 503),
    },
)
def get_metrics(
    request: Request,
    services: ServicesDependency,
    *,
    _principal: Annotated[Principal, requires(Scope.PIPELINES_READ, every_pipeline=True)],
) -> Response:
    """Return the figures for Prometheus. While the database is away no key can be checked: 503."""
    telemetry, accept = request.app.state.telemetry, request.headers.get("accept", "")
    body, media_type = write_metrics(services, telemetry=telemetry, accept=accept)
    return Response(body, media_type=media_type)
