"""What endpoints are given: the services of this process and the clock."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

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


async def _services(request: Request) -> Services:  # not plain: FastAPI would send it through a thread
    services: Services = request.app.state.services
    return services


ServicesDependency = Annotated[Services, Depends(_services)]
