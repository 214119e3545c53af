"""One file of the pipelines folder: read, parsed, held against its model; what is wrong becomes faults with places."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.json_source import parse_json
from planasonix_orchestrator.graph.model import DocumentModel
from planasonix_orchestrator.graph.source import Fault, ParsedSource, SourceMap
from planasonix_orchestrator.graph.validation import model_faults
from planasonix_orchestrator.graph.yaml_source import parse_yaml

ModelT = TypeVar("ModelT", bound=DocumentModel)


class Repair(Protocol):
    """Yields what can be had of data that has faults, the best first."""

    def __call__(self, data: dict[str, Any], *, faults: Iterable[Fault]) -> Iterator[dict[str, Any]]:
        """Yield data that the model may take."""


def validate(model: type[ModelT], data: Any, *, repair: Repair) -> tuple[ModelT | None, tuple[Fault, ...]]:
    """Return the document, or what can be had of it, and what is wrong with the data."""
    try:
        return model.model_validate(data), ()
    except ValidationError as error:
        faults = model_faults(error, model=model, data=data)
    for repaired in repair(data, faults=faults) if isinstance(data, dict) else ():
        try:
            return model.model_validate(repaired), faults
        except ValidationError:
            continue  # too little is left; the faults say why
    return None, faults


def read_file(file: Path) -> tuple[ParsedSource, datetime]:
    """Return what a file holds, and when it was changed; never raises for a bad one."""
    try:
        content = file.read_bytes()
        updated_at = datetime.fromtimestamp(file.stat().st_mtime, tz=UTC)
    except OSError as error:
        message = f"can't be read: {(error.strerror or str(error)).lower()}"
        return _unreadable(Fault(code="unreadable_file", message=message)), datetime.fromtimestamp(0, tz=UTC)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"not UTF-8: byte {error.start} is {content[error.start]:#04x}"
        fault = Fault(code="not_utf8", message=message, hint="save the file as UTF-8")
        return _unreadable(fault), updated_at
    return parse_json(text) if file.suffix.lower() == ".json" else parse_yaml(text), updated_at


def _unreadable(fault: Fault) -> ParsedSource:
    return ParsedSource(data=None, source=SourceMap(""), faults=(fault,), readable=False)


def problems_in(faults: Iterable[Fault], source: SourceMap, file: Path | None) -> tuple[Problem, ...]:
    """Return the faults of a file as problems, in the order of their places."""
    problems = (source.problem(fault, file=file) for fault in faults)
    return tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
