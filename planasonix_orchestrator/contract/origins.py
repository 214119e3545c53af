"""What started a run, read from its tags: those that we set, and those that Dagster sets on runs it starts itself."""

from collections.abc import Mapping
from typing import Final

from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.ids import api_run_id

PARENT: Final = "dagster/parent_run_id"
# Tags that Dagster itself sets on runs it starts, the more telling first, and the kind that each tells of.
DAGSTER_TRIGGERS: Final[Mapping[str, str]] = {
    "dagster/backfill": "backfill",
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
    PARENT: "retry",
}


def is_reexecution(tags: Mapping[str, str], *, run_id: str) -> bool:
    """Tell whether Dagster has started this run again, so that it has taken over what its parent's tags say."""
    again = PARENT in tags and "dagster/backfill" not in tags
    return again and tags.get(tag_names.TAGS_OF) != run_id


def trigger_kind(tags: Mapping[str, str], *, run_id: str) -> str:
    """Return what started the run of this Dagster id: one of `tags.TRIGGER_KINDS`."""
    if is_reexecution(tags, run_id=run_id):
        return "retry"
    named = tags.get(tag_names.TRIGGER)
    if named in tag_names.TRIGGER_KINDS:  # anybody can write anything into a tag in the Dagster UI
        return named
    return next((kind for tag, kind in DAGSTER_TRIGGERS.items() if tag in tags), "manual")


# What is told of a trigger, and the tags that hold it, the more telling first.
_FACTS: Final[Mapping[str, tuple[str, ...]]] = {
    "scheduleId": (tag_names.SCHEDULE_ID, "dagster/schedule_name"),
    "scheduledAt": (tag_names.SCHEDULED_AT,),
    "triggerId": (tag_names.TRIGGER_ID,),
    "sensor": ("dagster/sensor_name",),
    "backfillId": (tag_names.BACKFILL_ID, "dagster/backfill"),
    "user": (tag_names.USER, "user"),
}


def tell_origin(tags: Mapping[str, str], *, run_id: str) -> dict[str, str]:
    """Return what started the run of this Dagster id: the kind as `type`, and what of that kind it was.

    That is the schedule, and when the run was due, the trigger or user; the run that it retries; the run that has
    caused it. A re-execution was started by none of those that its parent's tags name.
    """
    told = {"type": trigger_kind(tags, run_id=run_id), **_facts(tags, run_id=run_id)}
    if tags.get(PARENT):
        told["parentRunId"] = api_run_id(tags[PARENT])
    if (cause := upstream_run(tags, run_id=run_id)) is not None:
        told["upstreamRunId"] = api_run_id(cause)
    return told


def upstream_run(tags: Mapping[str, str], *, run_id: str) -> str | None:
    """Return the Dagster id of the run that has caused this one; None if none has."""
    return None if is_reexecution(tags, run_id=run_id) else tags.get(tag_names.UPSTREAM_RUN) or None


def _facts(tags: Mapping[str, str], *, run_id: str) -> dict[str, str]:
    if is_reexecution(tags, run_id=run_id):
        return {}
    found = {fact: next((tags[key] for key in keys if tags.get(key)), None) for fact, keys in _FACTS.items()}
    if tags.get(tag_names.TRIGGER) == "schedule_manual":  # whose slice begins when it was asked for
        found["scheduledAt"] = None
    return {fact: value for fact, value in found.items() if value is not None}
