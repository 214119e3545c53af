"""Loads a folder of pipeline files: what is right becomes documents, what is wrong becomes problems."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.connections import ConnectionsDocument
from planasonix_orchestrator.graph.document import PipelineDocument
from planasonix_orchestrator.graph.exported import without_export_keys
from planasonix_orchestrator.graph.json_source import parse_json
from planasonix_orchestrator.graph.model import DocumentModel
from planasonix_orchestrator.graph.repair import STAND_IN, repair_connections, repair_pipeline
from planasonix_orchestrator.graph.rules import check_document
from planasonix_orchestrator.graph.source import DocumentPath, Fault, ParsedSource, SourceMap
from planasonix_orchestrator.graph.validation import model_faults
from planasonix_orchestrator.graph.yaml_source import parse_yaml

CONNECTIONS_FILE = "connections.yaml"
_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
ModelT = TypeVar("ModelT", bound=DocumentModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPipeline:
    """A document and the file it came from, if it did; `updated_at` is the file's time of change, in UTC."""

    document: PipelineDocument
    file: Path | None
    source: SourceMap
    updated_at: datetime | None

    def problem(self, *, code: str, message: str, path: DocumentPath, hint: str | None = None) -> Problem:
        """Return a problem at a path of this document, with file, line and column."""
        return self.source.problem(Fault(code=code, message=message, path=path, hint=hint), file=self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFolder:
    """All pipelines of a folder that have no problem so far, and the problems of the others.

    `faulty` holds what could be read of those others, for checks that can go on: it never runs, and any part that
    `problems` speaks of may be missing from it or wrong. `base` is where relative paths of connections start.
    """

    pipelines: tuple[LoadedPipeline, ...]
    connections: ConnectionsDocument
    problems: tuple[Problem, ...]
    faulty: tuple[LoadedPipeline, ...] = ()
    base: Path = Path()


def load_folder(folder: Path) -> LoadedFolder:
    """Load every pipeline under a folder, with the connections of its `connections.yaml` if it has one.

    Never raises for what is in the folder: a bad file becomes problems and harms no other.
    """
    if not folder.is_dir():
        problem = Problem(
            code="no_such_folder",
            message="there is no such folder of pipelines",
            file=str(folder),
            hint="create it, or name another with --pipelines or PLANASONIX_PIPELINES",
        )
        return LoadedFolder(pipelines=(), connections=ConnectionsDocument(), problems=(problem,))
    connections = folder / CONNECTIONS_FILE
    return load_files(find_files(folder), connections=connections if connections.exists() else None)


def load_files(files: Sequence[Path], *, connections: Path | None) -> LoadedFolder:
    """Load the given pipeline files and one file of connections."""
    results = [_load_pipeline(file) for file in dict.fromkeys(files)]
    document, problems = _load_connections(connections) if connections else (ConnectionsDocument(), ())
    loaded = [result.pipeline for result in results if result.pipeline]
    clashes = tuple(_clashes(loaded))
    bad_files = {problem.file for problem in (*clashes, *(each for result in results for each in result.problems))}
    return LoadedFolder(
        pipelines=tuple(pipeline for pipeline in loaded if str(pipeline.file) not in bad_files),
        connections=document,
        problems=(*problems, *(problem for result in results for problem in result.problems), *clashes),
        faulty=tuple(pipeline for pipeline in loaded if str(pipeline.file) in bad_files and not _is_short(pipeline)),
        base=connections.parent if connections else Path(),
    )


def load_document(data: Mapping[str, Any], *, folder: Path) -> LoadedFolder:
    """Load one document that is at hand as JSON, beside the connections that the folder has at this moment.

    Its problems have paths and no places: there is no file.
    """
    connections = folder / CONNECTIONS_FILE
    document, problems = _load_connections(connections) if connections.exists() else (ConnectionsDocument(), ())
    result = _check(ParsedSource(data=data, source=SourceMap("")), file=None, updated_at=None)
    loaded = (result.pipeline,) if result.pipeline else ()
    return LoadedFolder(
        pipelines=() if result.problems else loaded,
        connections=document,
        problems=(*problems, *result.problems),
        faulty=loaded if result.problems else (),
        base=folder,
    )


def find_files(folder: Path) -> tuple[Path, ...]:
    """Return the pipeline files under a folder, sorted; hidden ones and `connections.yaml` are none."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if not name.startswith(".") and name != CONNECTIONS_FILE and Path(name).suffix.lower() in _SUFFIXES
        ]
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class _Result:
    pipeline: LoadedPipeline | None
    problems: tuple[Problem, ...]


def _load_pipeline(file: Path) -> _Result:
    parsed, updated_at = _read(file)
    return _check(parsed, file=file, updated_at=updated_at)


def _check(parsed: ParsedSource, *, file: Path | None, updated_at: datetime | None) -> _Result:
    document, faults = None, parsed.faults
    if parsed.readable and parsed.data is None:
        hint = "write a document, or remove the file"
        faults = (Fault(code="empty_document", message="nothing stands here", hint=hint),)
    elif parsed.readable:
        data = without_export_keys(parsed.data)
        document, found = _validate(PipelineDocument, data, repair=repair_pipeline)
        faults = (*faults, *found, *(check_document(document) if document else ()))
    problems = _problems(faults, parsed.source, file)
    if document is None:
        return _Result(None, problems)
    return _Result(LoadedPipeline(document=document, file=file, source=parsed.source, updated_at=updated_at), problems)


def _load_connections(file: Path) -> tuple[ConnectionsDocument, tuple[Problem, ...]]:
    parsed, _ = _read(file)
    document, faults = None, parsed.faults
    if parsed.readable:
        # A file of nothing but comments, or with nothing under its key, means that there are no connections yet.
        data = {} if parsed.data in (None, {"connections": None}) else parsed.data
        document, found = _validate(ConnectionsDocument, data, repair=repair_connections)
        faults = (*faults, *found)
    return document or ConnectionsDocument(), _problems(faults, parsed.source, file)


def _problems(faults: Iterable[Fault], source: SourceMap, file: Path | None) -> tuple[Problem, ...]:
    """Return the faults of a file as problems, in the order of their places."""
    problems = (source.problem(fault, file=file) for fault in faults)
    return tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))


class _Repair(Protocol):
    def __call__(self, data: dict[str, Any], *, faults: Iterable[Fault]) -> Iterator[dict[str, Any]]: ...


def _validate(model: type[ModelT], data: Any, *, repair: _Repair) -> tuple[ModelT | None, tuple[Fault, ...]]:
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


def _read(file: Path) -> tuple[ParsedSource, datetime]:
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


def _is_short(pipeline: LoadedPipeline) -> bool:
    return any(node.type == STAND_IN for node in pipeline.document.nodes)


def _clashes(pipelines: Iterable[LoadedPipeline]) -> Iterator[Problem]:
    """Yield the problems of pipelines that share an id, a name, or the name of their Dagster job."""
    by_id, by_job = defaultdict(list), defaultdict(list)
    for pipeline in pipelines:
        document = pipeline.document
        if document.id != STAND_IN:
            by_id[document.id].append(pipeline)
        if document.name != STAND_IN:
            by_job[encode_name(document.name)].append(pipeline)
    for kind, groups in (("id", by_id), ("name", by_job)):
        for group in groups.values():
            for pipeline in group if len(group) > 1 else ():
                others = [other for other in group if other is not pipeline]
                yield pipeline.problem(
                    code=f"duplicate_pipeline_{kind}",
                    message=f"{kind} {getattr(pipeline.document, kind)!r} is also that of the pipeline in "
                    + ", ".join(str(other.file) for other in others),
                    path=(kind,),
                    hint=f"give each pipeline its own {kind}",
                )
