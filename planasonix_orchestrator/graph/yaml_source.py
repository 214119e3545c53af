"""Reads YAML by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), with positions.

So `no`, `on` and `yes` are texts, and so are dates (`2013-01-01`) and sexagesimals (`12:30`). Every key is a text.
Anchors and aliases work, merge keys (`<<`) and other YAML 1.1 types do not.

The events of libyaml are composed here, without recursion: PyYAML's own composer crashes the process on a file
that is nested some ten thousand levels deep.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from planasonix_orchestrator.graph.source import (
    MAX_DEPTH,
    DocumentPath,
    Fault,
    ParsedSource,
    SourceMap,
    duplicate_key,
)

_MAX_VALUES = 1_000_000  # with aliases written out, so that a small file can't grow into a huge document
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER = re.compile(
    r"(?P<decimal>[-+]?[0-9]+)|(?P<based>0o[0-7]+|0x[0-9a-fA-F]+)"
    r"|(?P<real>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
_DOT_OF_WORD = re.compile(r"\.(?=[iInN])")  # .inf and .nan are inf and nan to Python
_TAG = "tag:yaml.org,2002:"
_COLLECTION_TAGS = (None, "!", f"{_TAG}map", f"{_TAG}seq")
_TAGGED: dict[str, tuple[type, ...]] = {
    f"{_TAG}null": (type(None),),
    f"{_TAG}bool": (bool,),
    f"{_TAG}int": (int,),
    f"{_TAG}float": (float, int),
}


class _RefusedError(Exception):
    """The document can't be read further."""

    def __init__(self, code: str, message: str, *, offset: int, hint: str | None = None) -> None:
        self.fault = Fault(code=code, message=message, offset=offset, hint=hint)


def parse_yaml(text: str) -> ParsedSource:
    """Return the values of a YAML text that holds one document; never raises for a bad one."""
    composer = _Composer()
    try:
        _compose(text, composer)
    except yaml.YAMLError as error:
        fault = _syntax_fault(error)
    except _RefusedError as error:
        fault = error.fault
    else:
        source = SourceMap(text, offsets=composer.offsets)
        return ParsedSource(data=composer.root, source=source, faults=tuple(composer.faults))
    return ParsedSource(data=None, source=SourceMap(text), faults=(*composer.faults, fault), readable=False)


def parse_members(text: str, *, keys: Collection[str]) -> Mapping[str, Any] | None:
    """Return the members of a YAML mapping up to the last of these keys, without reading on; None if it is none."""
    composer = _Composer()
    try:
        _compose(text, composer, enough=lambda: composer.has_members(keys))
    except (yaml.YAMLError, _RefusedError):
        return None
    return composer.root if isinstance(composer.root, dict) else None


def _compose(text: str, composer: "_Composer", *, enough: Callable[[], bool] = lambda: False) -> None:
    loader = yaml.CSafeLoader(text)
    try:
        while not (enough() or isinstance(event := loader.get_event(), yaml.StreamEndEvent)):
            composer.take(event)
    finally:
        loader.dispose()


def _syntax_fault(error: yaml.YAMLError) -> Fault:
    offset = 0
    message = str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        offset = mark.index if mark else 0
        message = " ".join(part for part in (error.context, error.problem) if part)
    elif isinstance(error, yaml.reader.ReaderError):
        offset, message = int(error.position), str(error.reason)
    hint = "put a text that begins with * in quotes" if "alias" in message else None
    return Fault(code="invalid_yaml", message=f"not YAML: {message}", offset=offset, hint=hint)


@dataclass(slots=True)
class _Container:
    values: dict[str, Any] | list[Any]
    path: DocumentPath
    anchor: str | None
    size_before: int
    key: str | None = None
    dropped: bool = False  # the value of `key` is not part of the document


class _Composer:
    """Takes the parser's events one by one and builds the document."""

    def __init__(self) -> None:
        self.root: Any = None
        self.offsets: dict[DocumentPath, int] = {}
        self.faults: list[Fault] = []
        self._open: list[_Container] = []
        self._anchors: dict[str, tuple[Any, int]] = {}  # value, and how many values it holds
        self._size = 0
        self._documents = 0

    def has_members(self, keys: Collection[str]) -> bool:
        """Tell whether the document is a mapping whose members of these keys are complete."""
        return len(self._open) == 1 and isinstance(self.root, dict) and self.root.keys() >= set(keys)

    def take(self, event: Any) -> None:
        offset = event.start_mark.index
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                hint = "write one file per pipeline"
                raise _RefusedError("several_documents", "a second document begins here", offset=offset, hint=hint)
        elif isinstance(event, yaml.CollectionEndEvent):
            container = self._open.pop()
            self._remember(container.anchor, container.values, size=self._size - container.size_before)
        elif isinstance(event, yaml.NodeEvent):
            if self._open and isinstance(self._open[-1].values, dict) and self._open[-1].key is None:
                self._key(self._open[-1], event, offset=offset)
            else:
                self._value(event, offset=offset)

    def _key(self, container: _Container, event: Any, *, offset: int) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            hint = "put a text that begins with { or [ in quotes: '{{ name }}'"
            raise _RefusedError("complex_key", "a key must be a text", offset=offset, hint=hint)
        key = event.value
        path = (*container.path, key)
        container.key = key
        container.dropped = key in container.values
        if container.dropped:
            self.faults.append(duplicate_key(key, path=path, offset=offset))
        elif key == "<<" and event.implicit[0]:
            container.dropped = True
            hint = "write the keys out, or repeat a whole value with an alias"
            message = "merge keys are not part of YAML 1.2"
            self.faults.append(Fault(code="merge_key", message=message, path=container.path, offset=offset, hint=hint))
        self.offsets.setdefault(path, offset)

    def _value(self, event: Any, *, offset: int) -> None:
        path = self._place(offset)
        self._size += 1
        if isinstance(event, yaml.AliasEvent):
            self._attach(self._alias(str(event.anchor), offset=offset))
        elif isinstance(event, yaml.ScalarEvent):
            value = _scalar(event, offset=offset)
            self._attach(value)
            self._remember(event.anchor, value, size=1)
        else:
            self._start(event, path, offset=offset)
        if self._size > _MAX_VALUES:
            raise _RefusedError("too_large", f"more than {_MAX_VALUES:,} values in one document", offset=offset)

    def _start(self, event: Any, path: DocumentPath, *, offset: int) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise _unknown_tag(event.tag, offset=offset)
        if len(self._open) >= MAX_DEPTH:
            raise _RefusedError("too_deep", f"nested more than {MAX_DEPTH} levels deep", offset=offset)
        values: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._attach(values)
        self._open.append(_Container(values, path, event.anchor, self._size))

    def _place(self, offset: int) -> DocumentPath:
        """Return the path of the value to come, and note where it begins."""
        path: DocumentPath = ()
        if self._open:
            container = self._open[-1]
            in_list = isinstance(container.values, list)
            path = (*container.path, len(container.values) if in_list else str(container.key))
        self.offsets.setdefault(path, offset)
        return path

    def _attach(self, value: Any) -> None:
        if not self._open:
            self.root = value
            return
        container = self._open[-1]
        if isinstance(container.values, list):
            container.values.append(value)
            return
        if not container.dropped:
            container.values[str(container.key)] = value
        container.key = None

    def _alias(self, anchor: str, *, offset: int) -> Any:
        if anchor not in self._anchors:
            hint = "put a text that begins with * in quotes"
            raise _RefusedError("unknown_alias", f"no anchor &{anchor} ends before here", offset=offset, hint=hint)
        value, size = self._anchors[anchor]
        self._size += size
        return value

    def _remember(self, anchor: str | None, value: Any, *, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, size + 1)


def _scalar(event: Any, *, offset: int) -> Any:
    if event.implicit[0] and event.tag is None:
        return _plain(event.value, offset=offset)
    if event.tag in (None, "!", f"{_TAG}str"):
        return event.value
    if event.tag not in _TAGGED:
        raise _unknown_tag(event.tag, offset=offset)
    value = _plain(event.value, offset=offset)
    if not isinstance(value, _TAGGED[event.tag]):
        raise _RefusedError("invalid_tag", f"{event.value!r} is not what its tag says", offset=offset)
    return value


def _plain(text: str, *, offset: int) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    match = _NUMBER.fullmatch(text) if text[0] in "+-.0123456789" else None
    if match is None:
        return text
    try:
        number = float(_DOT_OF_WORD.sub("", text)) if match["real"] else int(text, 10 if match["decimal"] else 0)
    except ValueError as error:
        raise _RefusedError("invalid_number", "a number with too many digits", offset=offset) from error
    if not math.isfinite(number):
        hint = "put it in quotes if it is a text"
        raise _RefusedError("invalid_number", f"{text} is not a number that JSON has", offset=offset, hint=hint)
    return number


def _unknown_tag(tag: str, *, offset: int) -> _RefusedError:
    return _RefusedError("unknown_tag", f"the tag {tag} is not part of YAML's core schema", offset=offset)
