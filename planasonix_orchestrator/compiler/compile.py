"""The compiler: from documents to frozen plans, pass by pass, with every problem told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from planasonix_orchestrator.compiler.chains import check_chains
from planasonix_orchestrator.compiler.connections import build_connections
from planasonix_orchestrator.compiler.draft import Draft
from planasonix_orchestrator.compiler.environments import build_environments
from planasonix_orchestrator.compiler.faulty import further_problems
from planasonix_orchestrator.compiler.freeze import freeze
from planasonix_orchestrator.compiler.passes.configs import complete_configs
from planasonix_orchestrator.compiler.passes.connections import check_connections
from planasonix_orchestrator.compiler.passes.order import order_steps
from planasonix_orchestrator.compiler.passes.ports import assign_ports
from planasonix_orchestrator.compiler.passes.sql import check_sql
from planasonix_orchestrator.compiler.passes.stages import number_stages
from planasonix_orchestrator.compiler.passes.storage import place_rows
from planasonix_orchestrator.compiler.passes.types import resolve_types
from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.compiler.watched import check_watched
from planasonix_orchestrator.contract.pipelines import PublishedEnvironments
from planasonix_orchestrator.engine.connections import Connection
from planasonix_orchestrator.errors import InvalidDocumentError, Problem
from planasonix_orchestrator.graph.loading import LoadedFolder, LoadedPipeline
from planasonix_orchestrator.nodes.catalog import NodeCatalog

Pass = Callable[[Draft], Draft]

CHECKS: tuple[Pass, ...] = (resolve_types, complete_configs, assign_ports, check_connections, check_sql)
PLACEMENT: tuple[Pass, ...] = (order_steps, place_rows, number_stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFolder:
    """The plans of a folder's sound pipelines, and the problems of the others, those of loading first."""

    plans: tuple[PipelinePlan, ...]
    problems: tuple[Problem, ...]
    connections: Mapping[str, Connection]
    environments: PublishedEnvironments


def compile_pipeline(
    loaded: LoadedPipeline, *, catalog: NodeCatalog, connections: Mapping[str, Connection]
) -> PipelinePlan:
    """Return the plan of a pipeline; `InvalidDocumentError` with all of its problems if it has any."""
    draft = _run(CHECKS, Draft(loaded=loaded, catalog=catalog, connections=connections))
    if draft.problems:
        raise InvalidDocumentError(draft.problems)
    return freeze(_run(PLACEMENT, draft))


def compile_folder(folder: LoadedFolder, *, catalog: NodeCatalog) -> CompiledFolder:
    """Compile every pipeline of a folder; one that is broken harms no other."""
    connections = build_connections(folder.connections, base=folder.base)

    def check(loaded: LoadedPipeline) -> Draft:
        return _run(CHECKS, Draft(loaded=loaded, catalog=catalog, connections=connections))

    drafts, faulty = [check(loaded) for loaded in folder.pipelines], [check(loaded) for loaded in folder.faulty]
    of_starters = (*check_chains((*drafts, *faulty), whole=folder.whole), *check_watched((*drafts, *faulty)))
    broken = {problem.file for problem in of_starters}
    sound = [draft for draft in drafts if not draft.problems and _file_of(draft) not in broken]
    found = [problem for draft in faulty for problem in draft.problems]
    return CompiledFolder(
        plans=tuple(freeze(_run(PLACEMENT, draft)) for draft in sound),
        problems=(
            *folder.problems,
            *(problem for draft in drafts for problem in draft.problems),
            *further_problems(found, known=folder.problems),
            *of_starters,
        ),
        connections=connections,
        environments=build_environments(folder.environments),
    )


def compile_one(loaded: LoadedFolder, *, catalog: NodeCatalog) -> CompiledFolder:
    """Compile what `load_document` has loaded; `InvalidDocumentError` if a run of it could not start."""
    compiled = compile_folder(loaded, catalog=catalog)
    if not compiled.plans or not compiled.environments["readable"]:
        raise InvalidDocumentError(compiled.problems)
    return compiled


def _file_of(draft: Draft) -> str | None:
    return str(draft.loaded.file) if draft.loaded.file else None


def _run(passes: tuple[Pass, ...], draft: Draft) -> Draft:
    for each in passes:
        draft = each(draft)
    return draft
