"""What can go wrong with logs in particular."""

from collections.abc import Sequence

from api_adapter.errors import ApiError


class NotAcceptableError(ApiError):
    """None of the shapes that a log has is among those that the caller accepts."""

    status = 406
    code = "not_acceptable"

    def __init__(self, accept: str, *, offered: Sequence[str]) -> None:
        super().__init__(f"A log can be sent as {', '.join(offered)}; none of these is accepted by {accept!r}.")


class UrlsNotAvailableError(ApiError):
    """The raw output is not kept where it could be fetched from by URL."""

    status = 409
    code = "urls_not_available"

    def __init__(self) -> None:
        super().__init__(
            "This deployment keeps raw output in files, which have no URLs; GET .../logs/stdout and .../logs/stderr "
            "return it. For signed URLs, let compute_logs in dagster.yaml name a manager that keeps it in object "
            "storage, such as dagster_aws.s3.S3ComputeLogManager."
        )


class OutputNotFoundError(ApiError):
    """A run has ended, and no output of it is kept."""

    status = 404
    code = "output_not_found"

    def __init__(self, run_id: str, *, stream: str) -> None:
        super().__init__(
            f"No {stream} of run {run_id!r} is kept: it was deleted, or was empty and not stored, or lies on the "
            "machine that ran it."
        )
