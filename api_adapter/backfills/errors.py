"""What can go wrong with backfills."""

from api_adapter.errors import ApiError, Detail


class BackfillNotFoundError(ApiError):
    """No backfill has this id, or none of its runs is left."""

    status = 404
    code = "backfill_not_found"

    def __init__(self, backfill_id: str) -> None:
        super().__init__(f"There is no backfill {backfill_id!r}. GET /api/backfills lists the backfills.")


class BackfillFinishedError(ApiError):
    """Nothing of the backfill is left that could be canceled, or retried."""

    status = 409
    code = "conflict"

    def __init__(self, backfill_id: str, *, status: str, left: str) -> None:
        super().__init__(
            f"Backfill {backfill_id!r} has no slice that is {left}.", details=[Detail("status", f"is {status}")]
        )
