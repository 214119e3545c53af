"""What endpoints are given: the services of this process and the clock."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request

from api_adapter.control import Control
from api_adapter.records import Records
from api_adapter.settings import ApiSettings
from api_adapter.storage import Storage


def utc_now() -> datetime:
    """Return the time, aware, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One process's ways out: `storage` reads Dagster's record, `control` acts on Dagster, `records` are our own."""

    settings: ApiSettings
    storage: Storage
    control: Control
    records: Records
    clock: Callable[[], datetime] = utc_now


class Dependency(ABC):
    """What an endpoint is given of a request. `GuardedRoute` finds it, and where that leaves it to FastAPI, it calls.

    The call is a coroutine, since FastAPI would send a plain function through a thread.
    """

    __slots__ = ()

    @abstractmethod
    def find(self, request: Request) -> Any:
        """Return it."""


@dataclass(frozen=True, slots=True)
class OfApplication(Dependency):
    """What stands under a name in the state of the application."""

    name: str

    def find(self, request: Request) -> Any:
        """Return it."""
        return getattr(request.app.state, self.name)

    async def __call__(self, request: Request) -> Any:
        """Return it."""
        return self.find(request)


ServicesDependency = Annotated[Services, Depends(OfApplication("services"))]
