"""Where files arrive: what a trigger can look at, however it is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Arrival
from planasonix_orchestrator.errors import PlanasonixError


class PlaceError(PlanasonixError):
    """A place can't be looked at; the next poll tries again. No secret is part of the message."""

    def __init__(self, place: str, reason: str, *, hint: str) -> None:
        super().__init__(f"{place}: {reason} ({hint})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies in a place: the versions by path, the arrivals among them, and names that can't be passed on."""

    versions: Mapping[str, str]
    arrivals: Sequence[Arrival]
    unusable: Sequence[str] = ()


class Place(Protocol):
    """A folder, or a part of an object store."""

    @property
    def address(self) -> str:
        """What it is called: the paths of its files begin so."""

    def look(self, known: Mapping[str, str]) -> Listing:
        """Return what lies there. What is not `known` (versions by path) arrives. `PlaceError` if it can't be had."""
