"""Server-sent events, as the HTML standard has them, from the bytes of a stream."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event; `name` is empty for the usual kind."""

    name: str
    data: str
    id: str | None


def split_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    r"""Yield lines that end with \n: other marks that Unicode takes for line ends may stand within a message."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode().removesuffix("\r")
    if rest:
        yield rest.decode()


def read_events(response: httpx.Response) -> Iterator[Event]:
    """Yield the events of a stream as they come; comments, and what an unfinished event has, are left out."""
    fields: dict[str, str] = {}
    for line in split_lines(response.iter_bytes()):
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
            continue
        if "data" in fields:
            yield Event(name=fields.get("event", ""), data=fields["data"], id=fields.get("id"))
        fields = {}
