"""Chains of pipelines: one that starts another must exist, and none may start itself by way of others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from planasonix_orchestrator.compiler.draft import Draft
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.loading import LoadedPipeline
from planasonix_orchestrator.graph.source import DocumentPath
from planasonix_orchestrator.graph.topology import find_cycles, print_cycle
from planasonix_orchestrator.graph.triggers import UpstreamTrigger
from planasonix_orchestrator.graph.validation import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """Runs of the pipeline `source` start runs of `target`; `path` is where the document of `said_by` says so."""

    source: str
    target: str
    other: str
    said_by: LoadedPipeline
    path: DocumentPath


def check_chains(drafts: Sequence[Draft], *, whole: bool) -> Iterator[Problem]:
    """Yield the problems of what the drafts say of each other; `whole` if there are no pipelines besides.

    `unknown_pipeline` where a pipeline is named that is not there, `pipeline_cycle` at each trigger and node that is
    part of a cycle, `invalid_value` where a variable would name one.
    """
    for draft in drafts:
        yield from _variable_ids(draft)
    links = [link for draft in drafts for link in _links(draft)]
    ids = {draft.document.id for draft in drafts}
    for link in links:
        if whole and link.other not in ids:
            yield link.said_by.problem(
                code="unknown_pipeline",
                message=f"unknown pipeline {link.other!r}",
                path=link.path,
                hint=nearest(link.other, ids - {link.said_by.document.id}),
            )
    for cycle in find_cycles(sorted(ids), [(link.source, link.target) for link in links]):
        pairs = set(pairwise((*cycle, cycle[0])))
        for link in links:
            if (link.source, link.target) in pairs:
                yield link.said_by.problem(
                    code="pipeline_cycle",
                    message=f"cycle of pipelines: {print_cycle(cycle)}",
                    path=link.path,
                    hint="remove one of the triggers and nodes that close it",
                )


def _links(draft: Draft) -> Iterator[_Link]:
    own = draft.document.id
    for index, trigger in enumerate(draft.document.triggers):
        if isinstance(trigger, UpstreamTrigger):
            for other in trigger.config.upstream_ids:
                path = ("triggers", index, *trigger.config.place_of(other))
                if other != own:  # which the rules for a document tell
                    yield _Link(source=other, target=own, other=other, said_by=draft.loaded, path=path)
    for step in draft.steps:
        for key, other in step.node_type.pipeline_ids(step.config).items() if step.config else ():
            path = step.config_path((key,))
            if "{{" not in other:
                yield _Link(source=own, target=other, other=other, said_by=draft.loaded, path=path)


def _variable_ids(draft: Draft) -> Iterator[Problem]:
    for step in draft.steps:
        for key, other in step.node_type.pipeline_ids(step.config).items() if step.config else ():
            if "{{" in other:
                yield draft.loaded.problem(
                    code="invalid_value",
                    message=f"{step.label}: {key!r} must be the id of a pipeline, without variables",
                    path=step.config_path((key,)),
                    hint="it is known before any run which pipeline starts which",
                )
