"""What can be wrong with a request about a schedule."""

from api_adapter.errors import ApiError, Detail


class ScheduleNotFoundError(ApiError):
    """No schedule of a pipeline that is loaded has this id."""

    status = 404
    code = "schedule_not_found"

    def __init__(self, schedule_id: str) -> None:
        super().__init__(f"There is no schedule {schedule_id!r}. GET /api/schedules lists the schedules.")


class ScheduleInactiveError(ApiError):
    """A schedule can't be put on: its pipeline is not active."""

    status = 409
    code = "conflict"

    def __init__(self, schedule_id: str, *, status: str) -> None:
        super().__init__(
            f"Schedule {schedule_id!r} can't be enabled: its pipeline is {status}, and would start nothing.",
            details=[Detail("status", f"the pipeline is {status}")],
        )
