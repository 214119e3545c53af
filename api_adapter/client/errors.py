"""What can go wrong between a caller and the Runs API."""

from collections.abc import Mapping, Sequence
from typing import Any


class ServiceError(Exception):
    """A call that has no answer, or not the one that was wished for."""


class UnreachableError(ServiceError):
    """Nobody answers at the address; `lost` if somebody did before, or the answer may have been on its way."""

    def __init__(self, url: str, *, reason: str, lost: bool) -> None:
        super().__init__(f"{url} can't be reached: {reason}")
        self.url = url
        self.reason = reason
        self.lost = lost


class ForeignAnswerError(ServiceError):
    """Something answers at the address, but not as the Runs API does."""

    def __init__(self, url: str, *, answer: str) -> None:
        super().__init__(f"{url} does not answer as the Runs API does: {answer}")
        self.url = url


class RefusedError(ServiceError):
    """A failure in the API's own shape: HTTP status, code, what is wrong in which field, and the id of the request."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        message: str,
        details: Sequence[Mapping[str, Any]] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.request_id = request_id
