"""What becomes of the fires that are due: which of them start a run, and why the others don't."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from planasonix_orchestrator.graph.document import ScheduleDocument

# A fire that is seen no later than this is on time: the scheduler looks once a minute, and has restarts.
GRACE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The fires that start a run, the oldest first, and of the others the reason by the fire."""

    starts: tuple[datetime, ...]
    left_out: Mapping[datetime, str]


def decide(
    due: Sequence[datetime],
    schedule: ScheduleDocument,
    *,
    now: datetime,
    begun: Collection[datetime] = (),
    hindrance: str | None = None,
) -> Decision:
    """Return what becomes of the fires that are due, which come in their order.

    `begun` are those of them that have their run already, from an attempt that was interrupted: these stay. Where
    `hindrance` says why no run may start, none of the others does. What is left out is always older than what starts,
    so that whoever goes on after an interruption may take the newest that is left out for the end of what was seen to.
    """
    waiting = [fire for fire in due if fire not in begun]
    reasons: dict[datetime, str] = {}
    if hindrance is not None:
        return Decision(starts=tuple(sorted(begun)), left_out=dict.fromkeys(waiting, hindrance))
    for wanted, reason in _choices(due, schedule, now=now):
        for fire in waiting:
            if fire not in wanted:
                reasons.setdefault(fire, reason)
    starts = sorted({*begun, *(fire for fire in waiting if fire not in reasons)})
    return Decision(starts=tuple(starts), left_out=reasons)


def _choices(
    due: Sequence[datetime], schedule: ScheduleDocument, *, now: datetime
) -> Sequence[tuple[Collection[datetime], str]]:
    """Return what each rule lets through of the fires, and the reason that it gives for the rest."""
    newest = set(due[-1:])
    match schedule.catch_up:
        case "none":
            minutes = int(GRACE.total_seconds() // 60)
            reason = (
                f"it was seen more than {minutes} minutes late, and missed fires are not made up for (catchUp: none)"
            )
            choices = [({fire for fire in due if now - fire <= GRACE}, reason)]
        case "latest":
            choices = [
                (newest, "it was missed, and so was a newer one, which stands for all of them (catchUp: latest)")
            ]
        case "all":
            limit = schedule.catch_up_limit
            reason = f"more were missed than are made up for at once: the newest {limit} (catchUpLimit)"
            choices = [(set(due[-limit:]), reason)]
    if schedule.overlap == "skip":
        choices.append((newest, "a newer one is due as well, and one run at a time is enough (overlap: skip)"))
    return choices
