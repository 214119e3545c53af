"""The API's errors: each class knows its status, its code and its words; `exception_handlers` writes them once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing that is wrong: the `field` it stands in (a query parameter, a body path) and the `issue`."""

    field: str
    issue: str


class ApiError(Exception):
    """Base of every failure that a caller of the API may see. `headers` go out with the answer."""

    status: int = 500
    code: str = "internal_error"

    def __init__(
        self, message: str, *, details: Sequence[Detail] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.headers = dict(headers or {})


class InvalidRequestError(ApiError):
    """The request can't be understood or breaks a rule; `details` name every field."""

    status = 400
    code = "invalid_request"

    @classmethod
    def of_field(cls, field: str, issue: str) -> "InvalidRequestError":
        """Return the error for a request with one wrong field."""
        return cls(f"{field}: {issue}", details=[Detail(field, issue)])


class RunNotFoundError(ApiError):
    """No run has this id."""

    status = 404
    code = "run_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"There is no run {run_id!r}. GET /api/runs lists the runs.")


class StackNotFoundError(ApiError):
    """A run, or a node of it, has left no stack."""

    status = 404
    code = "stack_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(f"Run {run_id!r} has no such stack. `error.stackRef` of a failed run says where there is one.")


class PipelineNotFoundError(ApiError):
    """No pipeline that is loaded has this id."""

    status = 404
    code = "pipeline_not_found"

    def __init__(self, pipeline_id: str) -> None:
        super().__init__(f"There is no pipeline {pipeline_id!r}. GET /api/pipelines lists the pipelines.")


class PipelineBrokenError(ApiError):
    """The pipeline's document does not load; `details` carry its problems, each with its JSON path."""

    status = 409
    code = "pipeline_broken"

    def __init__(self, pipeline_id: str, *, problems: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(
            f"Pipeline {pipeline_id!r} has problems and can't be used until its document is corrected.",
            details=[Detail(str(problem.get("path", "$")), _issue(problem)) for problem in problems],
        )


class EnvironmentBrokenError(ApiError):
    """The environment of a run can't be had: its part of environments.yaml has problems."""

    status = 409
    code = "environment_broken"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The run can't start: {reason}.", details=[Detail("environmentId", reason)])


class IdempotencyConflictError(ApiError):
    """The key of a request stands for an earlier one, which asked for something else."""

    status = 409
    code = "idempotency_conflict"

    def __init__(self) -> None:
        issue = "an earlier request with this key had another body"
        super().__init__(f"Idempotency-Key: {issue}. Choose another key.", details=[Detail("Idempotency-Key", issue)])


class RunFinishedError(ApiError):
    """A run that has ended can't be canceled: a conflict, or (by the deployment's policy) a wrong request."""

    status = 409
    code = "run_finished"

    def __init__(self, run_id: str, *, final_status: str, status: int = 409) -> None:
        super().__init__(
            f"Run {run_id!r} has already {final_status} and can't be canceled.",
            details=[Detail("status", final_status)],
        )
        self.status = status


class RunNotRetryableError(ApiError):
    """A run can't be retried, as it is or as its pipeline is by now; `details` say why."""

    status = 409
    code = "run_not_retryable"

    def __init__(self, run_id: str, *, field: str, issue: str, why: str) -> None:
        super().__init__(f"Run {run_id!r} can't be retried: {why}.", details=[Detail(field, issue)])

    @classmethod
    def of_status(cls, run_id: str, *, status: str) -> "RunNotRetryableError":
        """Return the error for a run that has neither failed nor was canceled."""
        return cls(run_id, field="status", issue=status, why=f"only failed and canceled runs can, and it is {status}")

    @classmethod
    def of_done(cls, run_id: str) -> "RunNotRetryableError":
        """Return the error for a run that has left nothing undone."""
        why = 'every node of it has succeeded; {"fromFailure": false} runs them again'
        return cls(run_id, field="fromFailure", issue="nothing is left to do", why=why)

    @classmethod
    def of_nodes(cls, run_id: str, *, gone: Sequence[str]) -> "RunNotRetryableError":
        """Return the error for a run whose nodes are no longer in the pipeline."""
        nodes = ", ".join(gone)
        why = f"the pipeline was changed, and has no longer what is to be run: {nodes}. Start it anew"
        return cls(run_id, field="nodes", issue=f"no longer in the pipeline: {nodes}", why=why)


class RetryUnderWayError(ApiError):
    """Another retry of the run has not ended yet; `details` carry its id."""

    status = 409
    code = "retry_under_way"

    def __init__(self, run_id: str, *, retry_id: str) -> None:
        super().__init__(
            f"Run {run_id!r} is being retried already, by {retry_id!r}.", details=[Detail("runId", retry_id)]
        )


class UnavailableError(ApiError):
    """A part that the answer needs is away for the moment; the caller should try again."""

    status = 503
    code = "unavailable"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} can't be reached at the moment. Try again shortly.", headers={"Retry-After": "2"})


class UnknownSchemaError(ApiError):
    """Dagster's tables are of a revision that this version was not made for."""

    status = 503
    code = "unknown_schema"

    def __init__(self, found: Sequence[str], *, known: Sequence[str]) -> None:
        super().__init__(
            f"Dagster's tables are of revision {', '.join(found)}; this version knows {', '.join(known)}. "
            "Run a version of Planasonix that was made for the installed Dagster.",
            headers={"Retry-After": "60"},
        )


class OverdueError(ApiError):
    """The database took too long to answer this request."""

    status = 504
    code = "timeout"

    def __init__(self) -> None:
        super().__init__("The database took too long to answer. Ask for less, or try again.")


def _issue(problem: Mapping[str, Any]) -> str:
    place = ":".join(str(problem[key]) for key in ("file", "line") if problem.get(key) is not None)
    hint = f" ({problem['hint']})" if problem.get("hint") else ""
    return f"{place + ': ' if place else ''}{problem.get('message', 'is not valid')}{hint}"
