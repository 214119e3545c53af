"""How far upstream triggers lag behind the ends of the runs that they wait for."""

from collections.abc import Mapping
from datetime import datetime

from api_adapter.dependencies import Services
from planasonix_orchestrator.contract.upstream import UpstreamCursor, awaited_ends


def read_lags(services: Services, *, now: datetime) -> Mapping[str, float]:
    """Return for each upstream trigger that is on how long ago the oldest run ended that it has not seen, in seconds.

    0 where it has seen all; nothing of one that has not looked yet. `UnavailableError` while the code location is away.
    """
    configs = {
        trigger["id"]: trigger["config"]
        for pipeline in services.control.catalog().pipelines.values()
        for trigger in pipeline["document"].get("triggers", ())
        if trigger["triggerType"] == "upstream"
    }
    if not configs:
        return {}
    waiting = {}
    for id_, switch in services.control.switches.read("trigger", list(configs)).items():
        config = configs[id_]
        named = config.get("pipelineIds") or [config["pipelineId"]]
        if switch.enabled and (cursor := _read_cursor(switch.cursor)):
            waiting[id_] = (cursor, awaited_ends(named, on=config.get("on", "succeeded")))
    oldest = services.storage.oldest_ends(waiting)
    return {id_: (now - oldest.get(id_, now)).total_seconds() for id_ in waiting}


def _read_cursor(text: str | None) -> UpstreamCursor | None:
    try:
        return UpstreamCursor.from_json(text) if text else None
    except ValueError:  # somebody has set it by hand: the trigger's executions tell
        return None
