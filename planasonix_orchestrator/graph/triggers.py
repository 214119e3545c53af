"""Triggers as pydantic models: one kind of event each, with the config that this kind takes.

Source of the kinds and what they can be told: `shared/API.md`, section 5.
"""

from typing import Annotated, Literal

from pydantic import Field

from planasonix_orchestrator.graph.model import (
    DocumentModel,
    EnvironmentSecret,
    Identifier,
    PipelineId,
    VariableName,
    VariableValue,
)

Globs = Annotated[tuple[Identifier, ...], Field(strict=False)]


class ArrivalConfig(DocumentModel):
    """What all triggers on new files share: which files count, how often to look, and how to batch them."""

    include: Globs = Field(default=("**",), description="Globs of the files that count.")
    exclude: Globs = Field(default=(), description="Globs of files that don't, even though `include` has them.")
    poll_interval_seconds: float = Field(default=60, ge=1, strict=False, description="How often to look.")
    batch_seconds: float = Field(default=0, ge=0, strict=False, description="Wait this long for more files.")
    batch_files: int | None = Field(default=None, ge=1, description="Start at once when so many have arrived.")
    paths_variable: VariableName | None = Field(
        default=None, description="The variable that receives the paths, joined by commas."
    )


class FileWatcherConfig(ArrivalConfig):
    """New files in a folder that the code server can see."""

    path: Identifier = Field(description="The folder; a relative one starts at the pipelines folder.")
    detection: Literal["first_seen", "size_stable", "mtime_stable"] = Field(
        default="size_stable", description="When a file is complete: at once, or when size or time stands still."
    )
    stable_seconds: float = Field(default=10, ge=0, strict=False, description="For how long it must stand still.")


class BucketConfig(ArrivalConfig):
    """New objects in a bucket of S3 or Google Cloud Storage; credentials come from the environment."""

    bucket: Identifier
    prefix: str = Field(default="", description="Only objects whose key begins so.")


class ContainerConfig(ArrivalConfig):
    """New blobs in a container of Azure Blob Storage; credentials come from the environment."""

    container: Identifier
    prefix: str = Field(default="", description="Only blobs whose name begins so.")


class WebhookConfig(DocumentModel):
    """A signed call from outside."""

    secret: EnvironmentSecret = Field(description="The key of the HMAC-SHA256 signature.")
    payload_variable: VariableName | None = Field(default=None, description="The variable that receives the body.")


class UpstreamConfig(DocumentModel):
    """Another pipeline has succeeded."""

    pipeline_id: PipelineId


class BaseTrigger(DocumentModel):
    """What every trigger has."""

    id: Annotated[str, Field(pattern=r"^trg_[A-Za-z0-9_-]+$")]
    name: str | None = None
    enabled: bool = True
    variables: dict[str, VariableValue] = Field(default_factory=dict, description="Set for the runs that it starts.")


class FileWatcherTrigger(BaseTrigger):
    """Starts the pipeline when files arrive in a folder."""

    trigger_type: Literal["file_watcher"]
    config: FileWatcherConfig


class WebhookTrigger(BaseTrigger):
    """Starts the pipeline when its webhook is called."""

    trigger_type: Literal["webhook"]
    config: WebhookConfig


class BucketTrigger(BaseTrigger):
    """Starts the pipeline when objects arrive in a bucket."""

    trigger_type: Literal["s3", "gcs"]
    config: BucketConfig


class ContainerTrigger(BaseTrigger):
    """Starts the pipeline when blobs arrive in a container."""

    trigger_type: Literal["azure"]
    config: ContainerConfig


class UpstreamTrigger(BaseTrigger):
    """Starts the pipeline when another one has succeeded."""

    trigger_type: Literal["upstream"]
    config: UpstreamConfig


TriggerDocument = Annotated[
    FileWatcherTrigger | WebhookTrigger | BucketTrigger | ContainerTrigger | UpstreamTrigger,
    Field(discriminator="trigger_type"),
]
