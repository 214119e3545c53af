"""``/livez`` and ``/readyz``, for supervisors and load balancers; at the root, without a version."""

from typing import Any

from fastapi import APIRouter

from api_adapter.auth import GuardedRoute, public
from api_adapter.dependencies import ServicesDependency
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
    """Tell whether Postgres, the Dagster daemon and the code location are there."""
    return Readiness(checks=check_readiness(services))
