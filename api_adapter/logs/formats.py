"""The shapes in which a log can be asked for, and how a request's `Accept` chooses one (RFC 9110, 12.5.1)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from api_adapter.logs.errors import NotAcceptableError


class LogFormat(StrEnum):
    """A shape of a log: a page of JSON, a stream of lines, a stream that follows, or where the raw output lies."""

    JSON = "json"
    NDJSON = "ndjson"
    TEXT = "text"
    EVENTS = "events"
    URLS = "urls"


# The first type of each goes out when `format` was asked for; the order decides where a caller does not care.
MEDIA_TYPES: Mapping[LogFormat, tuple[str, ...]] = {
    LogFormat.JSON: ("application/json",),
    LogFormat.NDJSON: ("application/x-ndjson", "application/ndjson", "application/jsonl"),
    LogFormat.TEXT: ("text/plain",),
    LogFormat.EVENTS: ("text/event-stream",),
    LogFormat.URLS: ("application/json",),
}
_OFFERS = tuple(
    (kind, media_type) for kind, several in MEDIA_TYPES.items() for media_type in several if kind is not LogFormat.URLS
)

# Commas and semicolons separate only outside of quotes.
_PART = re.compile(r"""((?:[^,;"]|"(?:[^"\\]|\\.)*"?)*)([,;]|$)""")
_RANGE = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)/([!#$%&'*+.^_`|~0-9a-z-]+)")
_QUALITY = re.compile(r"q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


@dataclass(frozen=True, slots=True)
class _Range:
    """A media range of an Accept header, with its weight and its place among the others."""

    main: str
    sub: str
    quality: float
    place: int

    def specificity(self, media_type: str) -> int:
        """Return how closely it names the type: 0 if it does not at all, 1 for anything, to 3 for the type itself."""
        main, _, sub = media_type.partition("/")
        if (self.main, self.sub) == ("*", "*"):
            return 1
        if self.main != main:
            return 0
        return 3 if self.sub == sub else 2 * (self.sub == "*")


def choose_format(accept: Sequence[str], *, asked: str | None) -> tuple[LogFormat, str]:
    """Return the format that was asked for by name, else the one that the Accept headers like best; and its media type.

    The highest weight wins; among equals the type that is named more closely, then the one that is named first.
    `NotAcceptableError` if none is acceptable.
    """
    if asked is not None:
        named = LogFormat(asked)
        return named, MEDIA_TYPES[named][0]
    return _negotiate(accept)


def _negotiate(accept: Sequence[str]) -> tuple[LogFormat, str]:
    header = ",".join(accept)
    if not header.strip():
        return _OFFERS[0]
    ranges = list(_ranges(header))
    best: tuple[tuple[float, int, int], tuple[LogFormat, str]] | None = None
    for offer in _OFFERS:
        matching = [(one.specificity(offer[1]), one) for one in ranges if one.specificity(offer[1])]
        if not matching:
            continue
        specificity, closest = max(matching, key=lambda match: (match[0], -match[1].place))
        merit = (closest.quality, specificity, -closest.place)
        if closest.quality > 0 and (best is None or merit > best[0]):
            best = merit, offer
    if best is None:
        raise NotAcceptableError(header, offered=[media_type for _, media_type in _OFFERS])
    return best[1]


def _ranges(header: str) -> Iterator[_Range]:
    """Yield the ranges that can be understood."""
    for place, parts in enumerate(_items(header)):
        named = _RANGE.fullmatch(parts[0].strip().lower())
        if named is None:
            continue
        weights = (_QUALITY.fullmatch(part.strip().lower()) for part in parts[1:])
        quality = next((float(weight[1]) for weight in weights if weight), 1.0)
        yield _Range(named[1], named[2], quality, place)


def _items(header: str) -> Iterator[list[str]]:
    item: list[str] = []
    for part in _PART.finditer(header):
        item.append(part[1])
        if part[2] != ";":
            yield item
            item = []
