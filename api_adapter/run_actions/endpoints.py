"""The routes by which runs are acted on."""

from typing import Annotated

from fastapi import APIRouter, Response, status

from api_adapter.addresses import RunIdPath
from api_adapter.auth import GuardedRoute, Principal, Scope, requires
from api_adapter.dependencies import ServicesDependency
from api_adapter.responses import ALWAYS, DEFAULT, Responses, declare, json_response
from api_adapter.run_actions import service
from api_adapter.run_actions.schemas import CancelAnswer

router = APIRouter(prefix="/api", route_class=GuardedRoute, tags=["runs"], responses={**declare(*ALWAYS), **DEFAULT})

Canceler = Annotated[Principal, requires(Scope.PIPELINES_RUN, action="run.cancel")]

_RETRY_AFTER = {"Retry-After": {"description": "Seconds until a look is worth it.", "schema": {"type": "string"}}}
_CANCELED: Responses = {
    **declare(404),
    200: {"model": CancelAnswer, "description": "The run is already canceled."},
    202: {"description": "The wish is stored: the run ends as `canceled`.", "headers": _RETRY_AFTER},
    **declare(409, s409="The run has ended; `details` carry its final status. The deployment may answer 400."),
}


@router.delete(
    "/runs/{id}",
    operation_id="cancelRun",
    response_model=CancelAnswer,
    status_code=status.HTTP_202_ACCEPTED,
    responses=_CANCELED,
)
def cancel_run(services: ServicesDependency, *, principal: Canceler, run_id: RunIdPath) -> Response:
    """Ask that a queued or running run be canceled. Asking again changes nothing."""
    return _canceled(service.cancel_run(services, principal=principal, run_id=run_id))


@router.post(
    "/runs/{id}/cancel",
    operation_id="cancelRunByPost",
    response_model=CancelAnswer,
    status_code=status.HTTP_202_ACCEPTED,
    responses=_CANCELED,
)
def cancel_run_by_post(services: ServicesDependency, *, principal: Canceler, run_id: RunIdPath) -> Response:
    """Do as `DELETE /api/runs/{id}`, for callers who can't send that."""
    return _canceled(service.cancel_run(services, principal=principal, run_id=run_id))


def _canceled(answer: CancelAnswer) -> Response:
    if answer.status == "canceled":
        return json_response(answer)
    return json_response(answer, status=status.HTTP_202_ACCEPTED, headers={"Retry-After": "1"})
