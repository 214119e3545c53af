"""The pipelines that the code location has published."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dagster import JsonMetadataValue, MetadataValue, TextMetadataValue

from api_adapter.errors import PipelineBrokenError, PipelineNotFoundError
from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.contract.pipelines import PublishedEnvironments, PublishedPipeline, PublishedProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTrigger:
    """A trigger of a pipeline that loaded: the part of the graph document, and the pipeline that it starts."""

    document: Mapping[str, Any]
    pipeline: PublishedPipeline

    @property
    def id(self) -> str:
        """The trigger's id, unique among all pipelines."""
        return str(self.document["id"])

    @property
    def config(self) -> Mapping[str, Any]:
        """What it is told about its kind of event; of secrets only their names."""
        config: Mapping[str, Any] = self.document["config"]
        return config


@dataclass(frozen=True)
class Catalog:
    """All pipelines that loaded, by id, and the problems of the documents that did not.

    `environments` are None where the code location does not publish them.
    """

    pipelines: Mapping[str, PublishedPipeline]
    problems: Sequence[PublishedProblem]
    environments: PublishedEnvironments | None = None

    def get(self, pipeline_id: str) -> PublishedPipeline:
        """Return a pipeline; `PipelineBrokenError` if its document has problems, else `PipelineNotFoundError`."""
        if pipeline_id in self.pipelines:
            return self.pipelines[pipeline_id]
        problems = self._problems_by_pipeline.get(pipeline_id)
        if problems:
            raise PipelineBrokenError(pipeline_id, problems=problems)
        raise PipelineNotFoundError(pipeline_id)

    @cached_property
    def triggers(self) -> Mapping[str, LoadedTrigger]:
        """All triggers, by id, in the order of their ids."""
        found = [
            LoadedTrigger(document=trigger, pipeline=pipeline)
            for pipeline in self.pipelines.values()
            for trigger in pipeline["document"].get("triggers") or ()
        ]
        return {trigger.id: trigger for trigger in sorted(found, key=lambda one: one.id)}

    @cached_property
    def _problems_by_pipeline(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        by_pipeline: dict[str, list[Mapping[str, Any]]] = {}
        for problem in self.problems:
            pipeline_id = problem.get("pipelineId")
            if pipeline_id:
                by_pipeline.setdefault(str(pipeline_id), []).append(dict(problem))
        return by_pipeline


def read_catalog(published: Mapping[str, MetadataValue[Any]]) -> Catalog:
    """Return the catalog in a repository's metadata."""
    pipelines: list[PublishedPipeline] = _json(published.get(metadata.PIPELINES))
    return Catalog(
        pipelines={pipeline["id"]: pipeline for pipeline in pipelines},
        problems=_json(published.get(metadata.PROBLEMS)),
        environments=_json(published.get(metadata.ENVIRONMENTS)) or None,
    )


def _json(value: MetadataValue[Any] | None) -> Any:
    match value:
        case JsonMetadataValue():
            return value.value or []
        case TextMetadataValue():
            return json.loads(value.value or "[]")
    return []
