"""Loads a folder of pipeline files: what is right becomes documents, what is wrong becomes problems."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.beside import (
    BESIDE_PIPELINES,
    LoadedEnvironments,
    load_connections,
    load_environments,
    load_webhooks,
)
from planasonix_orchestrator.graph.connections import ConnectionsDocument
from planasonix_orchestrator.graph.document import PipelineDocument
from planasonix_orchestrator.graph.exported import without_export_keys
from planasonix_orchestrator.graph.reading import problems_in, read_file, validate
from planasonix_orchestrator.graph.repair import STAND_IN, repair_pipeline
from planasonix_orchestrator.graph.rules import check_document
from planasonix_orchestrator.graph.source import DocumentPath, Fault, ParsedSource, SourceMap
from planasonix_orchestrator.graph.validation import nearest

_SUFFIXES = (".yaml", ".yml", ".json")


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
    `problems` speaks of may be missing from it or wrong. `base` is where relative paths of connections start. `whole`:
    the ids of all pipelines that there are could be read, so that any other id is one of none.
    """

    pipelines: tuple[LoadedPipeline, ...]
    connections: ConnectionsDocument
    problems: tuple[Problem, ...]
    faulty: tuple[LoadedPipeline, ...] = ()
    environments: LoadedEnvironments = field(default_factory=LoadedEnvironments)
    base: Path = Path()
    whole: bool = False


def load_folder(folder: Path) -> LoadedFolder:
    """Load every pipeline under a folder, with what stands beside them if it has that: see `beside`.

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
    files = find_files(folder)
    loaded = load_files(files, beside=folder, are_all=True)
    known = [each for each in (*loaded.pipelines, *loaded.faulty) if each.document.id != STAND_IN]
    return replace(loaded, whole=len(known) == len(files))


def load_files(files: Sequence[Path], *, beside: Path | None, are_all: bool = False) -> LoadedFolder:
    """Load the given pipeline files, with what stands beside them in the folder `beside`.

    `are_all`: there are no other pipelines, so that what names another is wrong.
    """
    results = [_load_pipeline(file) for file in dict.fromkeys(files)]
    loaded = [result.pipeline for result in results if result.pipeline]
    clashes = (*_clashes(loaded), *_starter_clashes(loaded))
    known = {each.document.id for each in loaded} if are_all and len(loaded) == len(results) else None
    webhooks = load_webhooks(beside, known_pipelines=known)
    problems = (*(problem for result in results for problem in result.problems), *clashes)
    folder = _gather(loaded, problems=problems, beside=beside, check_beside=_strange_environments)
    return replace(folder, problems=(*folder.problems, *webhooks.problems))


def load_document(data: Mapping[str, Any], *, folder: Path) -> LoadedFolder:
    """Load one document that is at hand as JSON, with the connections and environments that the folder has by now.

    Its problems have paths and no places: there is no file.
    """
    result = _check(ParsedSource(data=data, source=SourceMap("")), file=None, updated_at=None)
    return _gather([result.pipeline] if result.pipeline else [], problems=result.problems, beside=folder)


def find_files(folder: Path) -> tuple[Path, ...]:
    """Return the pipeline files under a folder, sorted; hidden ones, and what is beside pipelines, are none."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if is_pipeline_file(name)]
    return tuple(sorted(found))


def is_pipeline_file(name: str) -> bool:
    """Tell whether a file of this name holds a pipeline, wherever under the folder it is."""
    return not name.startswith(".") and name not in BESIDE_PIPELINES and name.lower().endswith(_SUFFIXES)


@dataclass(frozen=True, slots=True)
class _Result:
    pipeline: LoadedPipeline | None
    problems: tuple[Problem, ...]


def _load_pipeline(file: Path) -> _Result:
    parsed, updated_at = read_file(file)
    return _check(parsed, file=file, updated_at=updated_at)


def _check(parsed: ParsedSource, *, file: Path | None, updated_at: datetime | None) -> _Result:
    document, faults = None, parsed.faults
    if parsed.readable and parsed.data is None:
        hint = "write a document, or remove the file"
        faults = (Fault(code="empty_document", message="nothing stands here", hint=hint),)
    elif parsed.readable:
        data = without_export_keys(parsed.data)
        document, found = validate(PipelineDocument, data, repair=repair_pipeline)
        faults = (*faults, *found, *(check_document(document) if document else ()))
    problems = problems_in(faults, parsed.source, file)
    if document is None:
        return _Result(None, problems)
    return _Result(LoadedPipeline(document=document, file=file, source=parsed.source, updated_at=updated_at), problems)


def _gather(
    loaded: Sequence[LoadedPipeline],
    *,
    problems: Sequence[Problem],
    beside: Path | None,
    check_beside: Callable[[Sequence[LoadedPipeline], LoadedEnvironments], Iterable[Problem]] = lambda _, __: (),
) -> LoadedFolder:
    """Return the pipelines as a folder: those of which no problem speaks, the others, and what is beside them.

    `check_beside` yields further problems of pipelines, which show beside the environments.
    """
    connections = load_connections(beside)
    environments = load_environments(
        beside, connections=connections, pipelines=[pipeline.document for pipeline in loaded]
    )
    problems = (*problems, *check_beside(loaded, environments))
    bad_files = {problem.file for problem in problems}
    return LoadedFolder(
        pipelines=tuple(pipeline for pipeline in loaded if _name(pipeline.file) not in bad_files),
        connections=connections.document,
        environments=environments,
        problems=(*connections.problems, *environments.problems, *problems),
        faulty=tuple(each for each in loaded if _name(each.file) in bad_files and not _is_short(each)),
        base=beside or Path(),
    )


def _name(file: Path | None) -> str | None:
    return str(file) if file else None


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


def _strange_environments(pipelines: Sequence[LoadedPipeline], environments: LoadedEnvironments) -> Iterator[Problem]:
    """Yield the problems of schedules and triggers whose environment does not exist.

    One that has problems itself does: they are told at its own place. Who only runs a document has no use for these.
    """
    known = {*environments.document.environments, *environments.faulty}
    for pipeline in pipelines if environments.readable else ():
        for kind in ("schedules", "triggers"):
            for index, starter in enumerate(getattr(pipeline.document, kind)):
                if starter.environment_id not in {None, *known}:
                    yield pipeline.problem(
                        code="unknown_environment",
                        message=f"environment {starter.environment_id!r} does not exist",
                        path=(kind, index, "environmentId"),
                        hint=nearest(starter.environment_id, known) or "declare it in environments.yaml",
                    )


def _starter_clashes(pipelines: Iterable[LoadedPipeline]) -> Iterator[Problem]:
    """Yield the problems of schedules and triggers of different pipelines that share an id: the API knows no other."""
    for kind in ("schedule", "trigger"):
        places: defaultdict[str, list[tuple[LoadedPipeline, int]]] = defaultdict(list)
        for pipeline in pipelines:
            for index, starter in enumerate(getattr(pipeline.document, f"{kind}s")):
                places[starter.id].append((pipeline, index))
        for id_, found in places.items():
            for pipeline, index in found:
                others = sorted({str(other.file) for other, _ in found if other is not pipeline})
                if others:
                    yield pipeline.problem(
                        code=f"duplicate_{kind}_id",
                        message=f"the {kind} id {id_!r} is also used in {', '.join(others)}",
                        path=(f"{kind}s", index, "id"),
                        hint=f"give each {kind} its own id",
                    )
