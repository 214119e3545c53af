"""The sensor of a trigger on arrivals: looks, decides which files one run is for, and asks for the runs."""

import json
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from dagster import RunRequest, SensorDefinition, SensorEvaluationContext, SkipReason

from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.dagster_defs.run_requests import request_run
from planasonix_orchestrator.dagster_defs.sensors.arrivals.folder import Folder
from planasonix_orchestrator.dagster_defs.sensors.arrivals.object_store import ObjectStore, read_s3_options
from planasonix_orchestrator.dagster_defs.sensors.arrivals.place import Place
from planasonix_orchestrator.dagster_defs.sensors.arrivals.record import Batch, Connect
from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Patience
from planasonix_orchestrator.dagster_defs.sensors.arrivals.watch import Watch
from planasonix_orchestrator.dagster_defs.sensors.place import SensorPlace, initial_status
from planasonix_orchestrator.engine.files import resolve_path
from planasonix_orchestrator.graph.globs import Selection
from planasonix_orchestrator.graph.triggers import (
    ArrivalConfig,
    BucketConfig,
    ContainerConfig,
    ContainerTrigger,
    FileWatcherConfig,
    FileWatcherTrigger,
    GcsTrigger,
    S3Config,
    S3Trigger,
)

ArrivalTrigger = FileWatcherTrigger | S3Trigger | GcsTrigger | ContainerTrigger

_LONGEST_SUMMARY, _LONGEST_NAME = 200, 120


def build_arrivals_sensor(trigger: ArrivalTrigger, plan: PipelinePlan, place: SensorPlace) -> SensorDefinition:
    """Return the sensor that looks every `pollIntervalSeconds`, and starts one run for each batch of files."""
    config = trigger.config
    watch = Watch(
        trigger.id,
        place=build_place(config, surroundings=place),
        patience=_patience(config),
        ignore_existing=config.ignore_existing,
    )
    lock = threading.Lock()  # somebody may try the sensor out in the UI while the daemon evaluates it

    def evaluate(context: SensorEvaluationContext) -> Sequence[RunRequest] | SkipReason:
        with lock:
            poll = watch.poll(_connect(context), at=time.time())
        if poll.unusable:
            context.log.warning(f"Not UTF-8, so never seen: {', '.join(poll.unusable[:10])}")  # noqa: G004
        if not poll.batches:
            return SkipReason(poll.summary)
        return [_request(batch, trigger=trigger, plan=plan, place=place) for batch in poll.batches]

    return SensorDefinition(
        name=encode_name(trigger.id),
        job_name=plan.job_name,
        evaluation_fn=evaluate,
        minimum_interval_seconds=math.ceil(config.poll_interval_seconds),
        description=f"{trigger.name or trigger.id}: starts the pipeline when files arrive in {watch.address}.",
        default_status=initial_status(trigger),
    )


def build_place(config: ArrivalConfig, *, surroundings: SensorPlace) -> Place:
    """Return what a trigger with this config looks at."""
    selection = Selection(include=config.include, exclude=config.exclude)
    match config:
        case FileWatcherConfig():
            return Folder(resolve_path(config.path, base=surroundings.surroundings.base), selection)
        case S3Config():
            options = partial(read_s3_options, config)
            return ObjectStore(
                "s3", bucket=config.bucket, prefix=config.prefix, selection=selection, read_options=options
            )
        case BucketConfig():
            return ObjectStore("gs", bucket=config.bucket, prefix=config.prefix, selection=selection)
        case ContainerConfig():
            return ObjectStore("az", bucket=config.container, prefix=config.prefix, selection=selection)
    raise TypeError(f"{type(config).__name__} is no place")


def summarize(paths: Sequence[str]) -> str:
    """Return the files in a few words: ``3 files: a.csv, b.csv, c.csv``."""
    names = [_shortened(path.rpartition("/")[2]) for path in paths]
    text = f"{len(names):,} file{'s' * (len(names) != 1)}: {names[0]}"
    for number, name in enumerate(names[1:], start=1):
        more = f" and {len(names) - number:,} more"
        if len(text) + len(name) + len(more) > _LONGEST_SUMMARY:
            return text + more
        text += f", {name}"
    return text


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def _patience(config: ArrivalConfig) -> Patience:
    patience = Patience(batch_seconds=config.batch_seconds, batch_files=config.batch_files)
    if isinstance(config, FileWatcherConfig):  # objects are there as a whole or not at all
        return replace(patience, detection=config.detection, stable_seconds=config.stable_seconds)
    return patience


def _connect(context: SensorEvaluationContext) -> Connect:
    connect: Connect = context.instance.run_storage.connect  # type: ignore[attr-defined]  # that of Postgres
    return connect


def _request(batch: Batch, *, trigger: ArrivalTrigger, plan: PipelinePlan, place: SensorPlace) -> RunRequest:
    config = trigger.config
    paths = json.dumps(batch.paths, ensure_ascii=False) if config.paths_format == "json" else ",".join(batch.paths)
    return request_run(
        plan,
        environments=place.surroundings.environments,
        variables={**trigger.variables, **({config.paths_variable: paths} if config.paths_variable else {})},
        environment_id=trigger.environment_id,
        run_key=batch.batch_id,
        tags={
            tag_names.TRIGGER: "sensor",
            tag_names.TRIGGER_ID: trigger.id,
            tag_names.EVENT_SUMMARY: summarize(batch.paths),
        },
    )
