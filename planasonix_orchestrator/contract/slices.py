"""The slice of time that a run is for: the tags that say it, and the names by which config strings insert it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.values import VariableValue

# What `{{ name }}` may say in every pipeline without declaring it, and the tags of a run that hold the values.
SLICE_TAGS: Final[Mapping[str, str]] = {
    "scheduled_at": tag_names.SCHEDULED_AT,
    "ds": tag_names.DS,
    "previous_scheduled_at": tag_names.PREVIOUS_SCHEDULED_AT,
    "next_scheduled_at": tag_names.NEXT_SCHEDULED_AT,
}
SLICE_VARIABLES: Final = tuple(SLICE_TAGS)

_TEMPLATE = re.compile(r"""\{\{\s*(?:(?P<name>\w+)|'(?P<single>[^']*)'|"(?P<double>[^"]*)")\s*\}\}""")


def slice_tags(scheduled_at: datetime, *, previous: datetime, following: datetime, timezone: str) -> dict[str, str]:
    """Return the tags of a run for the slice that begins at a fire, which lies between two others.

    All three are aware; `timezone` is the IANA name of the zone in which the slice has its date.
    """
    return {
        tag_names.SCHEDULED_AT: format_moment(scheduled_at),
        tag_names.DS: scheduled_at.astimezone(ZoneInfo(timezone)).date().isoformat(),
        tag_names.PREVIOUS_SCHEDULED_AT: format_moment(previous),
        tag_names.NEXT_SCHEDULED_AT: format_moment(following),
    }


def slice_values(run_tags: Mapping[str, str]) -> dict[str, str] | None:
    """Return the slice variables of a run by name, as its tags say them; None if they name no slice."""
    if tag_names.SCHEDULED_AT not in run_tags:
        return None
    scheduled_at = run_tags[tag_names.SCHEDULED_AT]
    known = {tag_names.DS: scheduled_at[:10], **run_tags}
    return {name: known.get(tag, scheduled_at) for name, tag in SLICE_TAGS.items()}


def slice_at(created_at: datetime) -> dict[str, str]:
    """Return the slice variables of a run without a slice, such as one that was started by hand at that moment."""
    moment = format_moment(created_at)
    return {**dict.fromkeys(SLICE_VARIABLES, moment), "ds": moment[:10]}


def fill_slice(value: VariableValue, *, values: Mapping[str, str]) -> VariableValue:
    """Return a value of a schedule's `variables`; in a text, the slice templates are replaced by their values."""
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        if match["name"] is None:
            return match["single"] or match["double"] or ""
        return values.get(match["name"], match.group())

    return _TEMPLATE.sub(replaced, value)


def format_moment(moment: datetime) -> str:
    """Return an aware moment as the tags have it, to the second: ``2025-03-30T01:30:00Z``."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
