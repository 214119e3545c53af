"""Reads JSON with its own semantics (``json.loads``), and finds out where each value stands."""

import json
import math
import re
from dataclasses import dataclass

from planasonix_orchestrator.graph.source import (
    MAX_DEPTH,
    DocumentPath,
    Fault,
    ParsedSource,
    SourceMap,
    duplicate_key,
)

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[^\s,:\[\]{}"]+')
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(text: str) -> ParsedSource:
    """Return the values of a JSON text; never raises for a bad one."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        return _broken(text, Fault(code="invalid_json", message=f"not JSON: {error.msg}", offset=error.pos))
    except RecursionError:
        return _broken(text, _too_deep(0))
    except ValueError:  # what int() says of more digits than it takes
        return _broken(text, Fault(code="invalid_number", message="a number with too many digits", offset=0))
    scan = _Scan()
    for token in _TOKEN.finditer(text):
        scan.take(token.group(), offset=token.start())
    if scan.unreadable:
        return _broken(text, *scan.unreadable)
    return ParsedSource(data=data, source=SourceMap(text, offsets=scan.offsets), faults=tuple(scan.duplicates))


def _broken(text: str, *faults: Fault) -> ParsedSource:
    return ParsedSource(data=None, source=SourceMap(text), faults=faults, readable=False)


def _too_deep(offset: int) -> Fault:
    return Fault(code="too_deep", message=f"nested more than {MAX_DEPTH} levels deep", offset=offset)


@dataclass(slots=True)
class _Container:
    path: DocumentPath
    keys: set[str] | None  # None in an array
    next: str | int | None  # the key or index of the value to come; None when a key must come first


class _Scan:
    """Walks the tokens of a text that is known to be JSON, so commas and colons carry no news."""

    def __init__(self) -> None:
        self.offsets: dict[DocumentPath, int] = {}
        self.duplicates: list[Fault] = []
        self.unreadable: list[Fault] = []  # what Python takes and JSON, or UTF-8, does not
        self._open: list[_Container] = []

    def take(self, lexeme: str, *, offset: int) -> None:
        if lexeme in "]}":
            self._open.pop()
            self._value_done()
            return
        container = self._open[-1] if self._open else None
        if lexeme[0] == '"':
            text = self._text(lexeme, offset=offset)
            if container is not None and container.next is None:
                self._key(container, text, offset=offset)
                return
        path: DocumentPath = ()
        if container is not None and container.next is not None:
            path = (*container.path, container.next)
        self.offsets.setdefault(path, offset)
        if lexeme == "[":
            self._open.append(_Container(path, keys=None, next=0))
        elif lexeme == "{":
            self._open.append(_Container(path, keys=set(), next=None))
        else:
            if lexeme.lstrip("-")[0] in "0123456789IN":
                self._check_number(lexeme, offset=offset)
            self._value_done()
        if lexeme in "[{" and len(self._open) == MAX_DEPTH + 1:
            self.unreadable.append(_too_deep(offset))

    def _check_number(self, lexeme: str, *, offset: int) -> None:
        if not math.isfinite(float(lexeme)):
            message = f"{lexeme} is not a number that JSON has"
            self.unreadable.append(Fault(code="invalid_number", message=message, offset=offset))

    def _key(self, container: _Container, key: str, *, offset: int) -> None:
        path = (*container.path, key)
        keys = container.keys if container.keys is not None else set()
        if key in keys:
            self.duplicates.append(duplicate_key(key, path=path, offset=offset))
        keys.add(key)
        container.next = key
        self.offsets.setdefault(path, offset)

    def _value_done(self) -> None:
        if self._open:
            container = self._open[-1]
            container.next = container.next + 1 if isinstance(container.next, int) else None

    def _text(self, lexeme: str, *, offset: int) -> str:
        text = str(json.loads(lexeme)) if "\\" in lexeme else lexeme[1:-1]
        if _SURROGATE.search(text):
            message = "half of a surrogate pair is not a character"
            hint = "write both halves (\\ud83d\\ude00), or the character itself"
            self.unreadable.append(Fault(code="invalid_text", message=message, hint=hint, offset=offset))
        return text
