"""Tells triggers in the API's words, and switches them."""

from collections.abc import Mapping, Sequence

from api_adapter.auth import Principal
from api_adapter.control import LoadedTrigger, Switch
from api_adapter.dependencies import Services
from api_adapter.pagination import ListMeta, ListPage, decode_cursor, encode_cursor
from api_adapter.storage import RunStatus
from api_adapter.timestamps import parse_timestamp
from api_adapter.triggers.checks import check_trigger
from api_adapter.triggers.errors import TriggerNotFoundError, TriggerNotLoadedError
from api_adapter.triggers.history import Place, read_history
from api_adapter.triggers.schemas import (
    ExecutionList,
    TriggerAnswer,
    TriggerAttributes,
    TriggerList,
    TriggerResource,
    TriggerTestAnswer,
    TriggerTestAttributes,
    TriggerTestRequest,
    TriggerTestResource,
    TriggerType,
)


def list_triggers(
    services: Services,
    *,
    principal: Principal,
    pipeline_id: str | None,
    trigger_type: TriggerType | None,
    enabled: bool | None,
    limit: int,
    cursor: str | None,
) -> TriggerList:
    """Return a page of the triggers that the principal may see, by their ids."""
    scope = ("triggers", pipeline_id, trigger_type, enabled, _sorted(principal.pipelines))
    after = decode_cursor(cursor, scope=scope, kind=str) if cursor is not None else ""
    found = [
        trigger
        for trigger in services.control.catalog().triggers.values()
        if trigger.id > after
        and principal.may_see(trigger.pipeline["id"])
        and pipeline_id in {None, trigger.pipeline["id"]}
        and trigger_type in {None, trigger.document["triggerType"]}
    ]
    if enabled is None:
        found = found[: limit + 1]
    switches = services.control.switches.read("trigger", [trigger.id for trigger in found])
    told = [_told(trigger, switch=switches.get(trigger.id)) for trigger in found]
    chosen = [one for one in told if enabled in {None, one.attributes.enabled}]
    page = chosen[:limit]
    behind = encode_cursor(page[-1].id, scope=scope) if len(chosen) > limit else None
    return TriggerList(data=page, meta=ListMeta(page=ListPage(limit=limit, cursor=behind)))


def read_trigger(services: Services, *, principal: Principal, trigger_id: str) -> TriggerAnswer:
    """Return a trigger."""
    trigger = _find(services, principal=principal, trigger_id=trigger_id)
    switches = services.control.switches.read("trigger", [trigger.id])
    return TriggerAnswer(data=_told(trigger, switch=switches.get(trigger.id)))


def switch_trigger(services: Services, *, principal: Principal, trigger_id: str, on: bool) -> TriggerAnswer:
    """Turn a trigger on or off, for good; `TriggerNotLoadedError` if it has no switch."""
    trigger = _find(services, principal=principal, trigger_id=trigger_id)
    switch = services.control.switches.switch("trigger", trigger.id, on=on)
    if switch is None:
        raise TriggerNotLoadedError(trigger_id)
    return TriggerAnswer(data=_told(trigger, switch=switch))


def try_trigger(
    services: Services, *, principal: Principal, trigger_id: str, request: TriggerTestRequest
) -> TriggerTestAnswer:
    """Return what is right and wrong with a trigger; nothing is started."""
    trigger = _find(services, principal=principal, trigger_id=trigger_id)
    checks = list(check_trigger(services, trigger=trigger, request=request))
    attributes = TriggerTestAttributes(
        trigger_id=trigger.id, ok=all(check.ok for check in checks), checks=checks, tested_at=services.clock()
    )
    return TriggerTestAnswer(data=TriggerTestResource(id=trigger.id, attributes=attributes))


def list_executions(
    services: Services,
    *,
    principal: Principal,
    trigger_id: str,
    status: RunStatus | None,
    limit: int,
    cursor: str | None,
) -> ExecutionList:
    """Return a page of what a trigger has done, newest first: runs that it has started, evaluations that failed."""
    trigger = _find(services, principal=principal, trigger_id=trigger_id)
    scope = ("executions", trigger.id, status)
    place = Place.parse(decode_cursor(cursor, scope=scope, kind=str)) if cursor is not None else Place()
    found = read_history(services, trigger_id=trigger.id, status=status, limit=limit + 1, place=place)
    page = found[:limit]
    behind = encode_cursor(str(page[-1].place), scope=scope) if len(found) > limit else None
    return ExecutionList(data=[one.told for one in page], meta=ListMeta(page=ListPage(limit=limit, cursor=behind)))


def _find(services: Services, *, principal: Principal, trigger_id: str) -> LoadedTrigger:
    trigger = services.control.catalog().triggers.get(trigger_id)
    if trigger is None or not principal.may_see(trigger.pipeline["id"]):
        raise TriggerNotFoundError(trigger_id)
    return trigger


def _told(trigger: LoadedTrigger, *, switch: Switch | None) -> TriggerResource:
    document: Mapping[str, str | None] = trigger.pipeline["document"]
    created, updated = document.get("createdAt"), trigger.pipeline["updatedAt"]
    return TriggerResource(
        id=trigger.id,
        attributes=TriggerAttributes(
            name=trigger.document.get("name"),
            trigger_type=trigger.document["triggerType"],
            pipeline_id=trigger.pipeline["id"],
            enabled=switch is not None and switch.enabled,
            config=dict(trigger.config),
            created_at=parse_timestamp(created) if created else None,
            updated_at=parse_timestamp(updated) if updated else None,
        ),
    )


def _sorted(pipelines: frozenset[str] | None) -> Sequence[str] | None:
    return None if pipelines is None else tuple(sorted(pipelines))
