"""A plan as a Dagster job: nodes are aliased ops, edges dependencies, configs and variables the default run config."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster import (
    DependencyDefinition,
    GraphDefinition,
    JobDefinition,
    MetadataValue,
    MultiDependencyDefinition,
    NodeInvocation,
    OpDefinition,
)

from planasonix_orchestrator.compiler.explain import explain_text
from planasonix_orchestrator.compiler.plan import PipelinePlan, Step
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.metadata import DOCUMENT
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.contract.pipelines import PublishedEnvironments
from planasonix_orchestrator.dagster_defs.executor_of_run import build_executor_of_run
from planasonix_orchestrator.dagster_defs.ops import node_tags, output_name
from planasonix_orchestrator.dagster_defs.pipeline_run import Surroundings
from planasonix_orchestrator.dagster_defs.resources import build_resources, launchpad_config
from planasonix_orchestrator.settings import Settings

_LONGEST_TAG_KEY = 63
_LONGEST_TAG_VALUE = 255  # Dagster indexes values on PostgreSQL, which refuses more than 2.7 kB


# Dagster and we act upon tags of these namespaces, so documents may set only the ones that tune their own runs.
_SYSTEM_NAMESPACES = frozenset({"dagster", ".dagster", "planasonix"})
_MAX_RUNTIME = "dagster/max_runtime"  # seconds, from the run's start
_TUNING_TAGS = frozenset({"dagster/priority", _MAX_RUNTIME, "dagster/max_retries"})


def build_job(
    plan: PipelinePlan, *, ops: Mapping[str, OpDefinition], surroundings: Surroundings, settings: Settings
) -> JobDefinition:
    """Return the job of a plan, built of the shared ops."""
    graph = GraphDefinition(
        # Job names are free, but Dagster wants graphs and ops of a repository to have different names.
        name=f"Graph_of_{plan.job_name}",
        description=plan.description,
        node_defs=[ops[type_name] for type_name in dict.fromkeys(step.type for step in plan.steps)],
        dependencies={
            _invocation(step, ops=ops, surroundings=surroundings): _dependencies(plan, step, surroundings=surroundings)
            for step in plan.steps
        },
    )
    return graph.to_job(
        name=plan.job_name,
        description=plan.description,
        resource_defs=build_resources(plan, surroundings=surroundings, settings=settings),
        executor_def=build_executor_of_run(plan, environments=surroundings.environments, settings=settings),
        config=default_run_config(plan, environments=surroundings.environments),
        tags=job_tags(plan),
        metadata=_job_metadata(plan, base=surroundings.base),
    )


def default_run_config(plan: PipelinePlan, *, environments: PublishedEnvironments) -> dict[str, Any]:
    """Return the run config that the launchpad opens with: every node's config, every variable, the environment."""
    return {
        "ops": {step.op_name: {"config": step.config} for step in plan.steps},
        "resources": launchpad_config(plan, environments=environments),
    }


def job_tags(plan: PipelinePlan) -> dict[str, str]:
    """Return the tags of a plan's job and runs; what the document says is made valid for Dagster, ours win."""
    own = {_tag_key(key, value): value[:_LONGEST_TAG_VALUE] for key, value in plan.tags.items()}
    limit = {} if plan.timeout_seconds is None else {_MAX_RUNTIME: str(plan.timeout_seconds).removesuffix(".0")}
    return {**own, **limit, tag_names.PIPELINE_ID: plan.pipeline_id, tag_names.PIPELINE_VERSION: plan.version}


def _tag_key(key: str, value: str) -> str:
    namespace, slash, name = key.partition("/")
    tuning = key in _TUNING_TAGS and re.fullmatch(r"-?[0-9]{1,9}", value)
    reserved = namespace in _SYSTEM_NAMESPACES and not tuning
    parts = [f"{namespace}_{name}"] if slash and reserved else [namespace, name]
    valid = [re.sub(r"[^A-Za-z0-9_.-]", "_", part)[:_LONGEST_TAG_KEY] for part in parts]
    return "/".join(part for part in valid if part) or "_"


def _invocation(step: Step, *, ops: Mapping[str, OpDefinition], surroundings: Surroundings) -> NodeInvocation:
    return NodeInvocation(
        name=ops[step.type].name,
        alias=step.op_name,
        tags=node_tags(surroundings.catalog.get(step.type)),
    )


def _dependencies(
    plan: PipelinePlan, step: Step, *, surroundings: Surroundings
) -> dict[str, DependencyDefinition | MultiDependencyDefinition]:
    ports: dict[str, dict[str, DependencyDefinition]] = {}
    for edge in step.inputs:
        upstream = plan.step(edge.node_id)
        dependency = DependencyDefinition(
            node=upstream.op_name, output=output_name(surroundings.catalog.get(upstream.type))
        )
        # By op: a union of a node with itself waits for it once.
        ports.setdefault(encode_name(edge.port), {})[upstream.op_name] = dependency
    return {port: _one_or_many(list(upstream.values())) for port, upstream in ports.items()}


def _one_or_many(upstream: list[DependencyDefinition]) -> DependencyDefinition | MultiDependencyDefinition:
    return upstream[0] if len(upstream) == 1 else MultiDependencyDefinition([*upstream])


def _job_metadata(plan: PipelinePlan, *, base: Path) -> dict[str, Any]:
    return {
        "pipeline": MetadataValue.text(plan.name),
        DOCUMENT: MetadataValue.json(dict(plan.document)),
        "plan": MetadataValue.md(f"```text\n{explain_text(plan)}```"),
        **({"file": MetadataValue.text(os.path.relpath(plan.file, base))} if plan.file else {}),
    }
