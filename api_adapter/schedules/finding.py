"""The schedules that stand in the documents of pipelines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api_adapter.auth import Principal
from api_adapter.control import Catalog
from api_adapter.schedules.errors import ScheduleNotFoundError
from api_adapter.timestamps import parse_timestamp
from planasonix_orchestrator.contract.pipelines import PublishedPipeline

# What goes without saying in a document.
_DEFAULTS: Mapping[str, Any] = {
    "name": None,
    "timezone": "UTC",
    "overlap": "queue",
    "catchUp": "latest",
    "catchUpLimit": 100,
    "deadlineSeconds": None,
    "environmentId": None,
    "variables": {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSchedule:
    """A schedule and its pipeline; `said` are its keys in the document, those too that go without saying."""

    id: str
    pipeline: PublishedPipeline
    said: Mapping[str, Any]

    @property
    def cron(self) -> str:
        """The cron expression."""
        return str(self.said["cronExpression"])

    @property
    def timezone(self) -> str:
        """The IANA name of the time zone in which it is read."""
        return str(self.said["timezone"])

    @property
    def pipeline_status(self) -> str:
        """Only schedules of an ``active`` one start runs."""
        return str(self.pipeline["document"].get("status", "active"))

    @property
    def created_at(self) -> datetime | None:
        """When the pipeline's document says that it was made."""
        return _moment(self.pipeline["document"].get("createdAt"))

    @property
    def updated_at(self) -> datetime | None:
        """When the pipeline's document was last changed."""
        return _moment(self.pipeline["updatedAt"])


def find_schedules(catalog: Catalog, *, principal: Principal) -> Iterator[FoundSchedule]:
    """Yield the schedules of all pipelines that the caller may see."""
    for pipeline in catalog.pipelines.values():
        for said in pipeline["document"].get("schedules") or () if principal.may_see(pipeline["id"]) else ():
            yield FoundSchedule(id=said["id"], pipeline=pipeline, said={**_DEFAULTS, **said})


def find_schedule(catalog: Catalog, *, principal: Principal, schedule_id: str) -> FoundSchedule:
    """Return a schedule; `ScheduleNotFoundError` if there is none that the caller may see."""
    for found in find_schedules(catalog, principal=principal):
        if found.id == schedule_id:
            return found
    raise ScheduleNotFoundError(schedule_id)


def _moment(text: str | None) -> datetime | None:
    return parse_timestamp(text) if text else None
