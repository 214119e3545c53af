"""What stands beside the pipelines of a folder: its connections, its environments, and whom to tell of runs."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.connections import ConnectionsDocument
from planasonix_orchestrator.graph.document import PipelineDocument
from planasonix_orchestrator.graph.environments import (
    EnvironmentsDocument,
    check_bindings,
    check_default,
    check_values,
)
from planasonix_orchestrator.graph.reading import problems_in, read_file, validate
from planasonix_orchestrator.graph.repair import repair_connections, repair_endpoints, repair_environments
from planasonix_orchestrator.graph.source import Fault
from planasonix_orchestrator.graph.webhooks import WebhooksDocument, check_endpoints, check_pipelines

CONNECTIONS_FILE = "connections.yaml"
ENVIRONMENTS_FILES = ("environments.yaml", "environments.yml", "environments.json")
SCHEMA_KEY = "$schema"  # by which editors find the JSON Schema of a file in JSON
WEBHOOKS_FILE = "webhooks.yaml"
BESIDE_PIPELINES = frozenset({CONNECTIONS_FILE, WEBHOOKS_FILE, *ENVIRONMENTS_FILES})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConnections:
    """The sound connections, the ids of the others, and whether these are all."""

    document: ConnectionsDocument = field(default_factory=ConnectionsDocument)
    problems: tuple[Problem, ...] = ()
    unsound: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedEnvironments:
    """The sound environments, and the ids of those that are not among them because of their problems.

    `readable` is false where something else of the file is wrong: nobody knows then in which environment a run is.
    """

    document: EnvironmentsDocument = field(default_factory=EnvironmentsDocument)
    problems: tuple[Problem, ...] = ()
    faulty: tuple[str, ...] = ()
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWebhooks:
    """The sound endpoints, and the ids of those that are not among them because of their problems.

    `readable` is false where something else of the file is wrong: nobody knows then which endpoints there are.
    """

    document: WebhooksDocument = field(default_factory=WebhooksDocument)
    problems: tuple[Problem, ...] = ()
    faulty: tuple[str, ...] = ()
    readable: bool = True


def load_connections(folder: Path | None) -> LoadedConnections:
    """Load the connections of a folder; none if it has no file of them."""
    file = folder / CONNECTIONS_FILE if folder else None
    if file is None or not file.exists():
        return LoadedConnections()
    parsed, _ = read_file(file)
    document, faults = None, parsed.faults
    if parsed.readable:
        document, found = validate(ConnectionsDocument, _without_nothing(parsed.data), repair=repair_connections)
        faults = (*faults, *found)
    return LoadedConnections(
        document=document or ConnectionsDocument(),
        problems=problems_in(faults, parsed.source, file),
        unsound=_members(faults, of="connections"),
        complete=document is not None,
    )


def load_environments(
    folder: Path | None, *, connections: LoadedConnections, pipelines: Sequence[PipelineDocument]
) -> LoadedEnvironments:
    """Load the environments of a folder, and check them beside its connections and its pipelines."""
    files = [folder / name for name in ENVIRONMENTS_FILES if (folder / name).exists()] if folder else []
    if not files:
        return LoadedEnvironments()
    parsed, _ = read_file(files[0])
    found, shape = None, [*parsed.faults]
    if parsed.readable:
        found, faults = validate(EnvironmentsDocument, _without_nothing(parsed.data), repair=repair_environments)
        shape += faults
    document = found or EnvironmentsDocument()
    bindings = check_bindings(document, connections=connections.document, unsound=connections.unsound)
    broken = [*shape, *(bindings if connections.complete else ())]
    faulty = _members(broken, of="environments")
    readable = found is not None and len(files) == 1 and all(_is_member(each, of="environments") for each in shape)
    unknown_default = check_default(document, faulty=faulty) if readable else ()
    faults = (*broken, *unknown_default, *check_values(document, pipelines=pipelines))
    sound = {id_: each for id_, each in document.environments.items() if id_ not in faulty}
    return LoadedEnvironments(
        document=document.model_copy(update={"environments": sound}),
        problems=(*problems_in(faults, parsed.source, files[0]), *_superfluous(files)),
        faulty=faulty,
        readable=readable,
    )


def load_webhooks(folder: Path | None, *, known_pipelines: Collection[str] | None = None) -> LoadedWebhooks:
    """Load the endpoints of a folder; none if it has no file of them.

    With `known_pipelines`, an endpoint that names another one has a problem, which does not make it unsound.
    """
    file = folder / WEBHOOKS_FILE if folder else None
    if file is None or not file.exists():
        return LoadedWebhooks()
    parsed, _ = read_file(file)
    found, shape = None, [*parsed.faults]
    if parsed.readable:
        found, faults = validate(WebhooksDocument, _without_nothing(parsed.data), repair=repair_endpoints)
        shape += faults
    document = found or WebhooksDocument()
    broken = [*shape, *check_endpoints(document)]
    unknown = check_pipelines(document, known=known_pipelines) if known_pipelines is not None else ()
    faulty = _members(broken, of="endpoints")
    sound = {id_: each for id_, each in document.endpoints.items() if id_ not in faulty}
    return LoadedWebhooks(
        document=document.model_copy(update={"endpoints": sound}),
        problems=problems_in((*broken, *unknown), parsed.source, file),
        faulty=faulty,
        readable=found is not None and all(_is_member(each, of="endpoints") for each in shape),
    )


def _without_nothing(data: Any) -> Any:
    """Return the data of a file without keys that say nothing; {} for a file of nothing but comments."""
    if isinstance(data, dict):
        return {key: value for key, value in data.items() if value is not None and key != SCHEMA_KEY}
    return {} if data is None else data


def _members(faults: Iterable[Fault], *, of: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(fault.path[1]) for fault in faults if _is_member(fault, of=of)))


def _is_member(fault: Fault, *, of: str) -> bool:
    return len(fault.path) > 1 and fault.path[0] == of


def _superfluous(files: Sequence[Path]) -> Iterator[Problem]:
    for file in files[1:]:
        yield Problem(
            code="duplicate_file",
            message=f"environments stand in {files[0].name} already",
            file=str(file),
            hint="keep one of the files",
        )
