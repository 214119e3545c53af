"""What started a run, read from its tags: those that we set, and those that Dagster sets on runs it starts itself."""

from collections.abc import Mapping
from typing import Final

from planasonix_orchestrator.contract import tags as tag_names

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


def trigger_facts(tags: Mapping[str, str], *, run_id: str) -> dict[str, str]:
    """Return which schedule, trigger or user it was that started the run, and when it was due, if it was.

    Nothing of a re-execution.
    """
    if is_reexecution(tags, run_id=run_id):
        return {}
    found = {fact: next((tags[key] for key in keys if tags.get(key)), None) for fact, keys in _FACTS.items()}
    if tags.get(tag_names.TRIGGER) == "schedule_manual":  # whose slice begins when it was asked for
        found["scheduledAt"] = None
    return {fact: value for fact, value in found.items() if value is not None}
