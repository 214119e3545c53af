"""Does what callers ask of runs, and says what has become of it."""

from api_adapter.addresses import dagster_run_id
from api_adapter.auth import Principal
from api_adapter.dependencies import Services
from api_adapter.errors import RunFinishedError, RunNotFoundError
from api_adapter.run_actions.schemas import CancelAnswer


def cancel_run(services: Services, *, principal: Principal, run_id: str) -> CancelAnswer:
    """Ask that a run be canceled; `RunFinishedError` if it has already succeeded or failed."""
    dagster_id = dagster_run_id(run_id)
    run = services.storage.read_run(dagster_id)
    if run is None or not principal.may_see(run.pipeline_id):
        raise RunNotFoundError(run_id)
    match services.control.cancel(dagster_id, user=principal.name, at=services.clock()):
        case "unknown":  # it was deleted just now
            raise RunNotFoundError(run_id)
        case "succeeded" | "failed" as ended:
            raise RunFinishedError(run.id, final_status=ended, status=services.settings.cancel_finished_status)
        case "canceled":
            return CancelAnswer(id=run.id, status="canceled", message="The run is already canceled.")
    return CancelAnswer(
        id=run.id,
        status="cancel_requested",
        message="Cancellation accepted; workers stop after their current safe point.",
    )
