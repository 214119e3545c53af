"""Triggers as pydantic models: one kind of event each, with the config that this kind takes.

Source of the kinds and what they can be told: `shared/API.md`, section 5.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from planasonix_orchestrator.graph.globs import check_glob
from planasonix_orchestrator.graph.model import (
    DocumentModel,
    EnvironmentSecret,
    Identifier,
    PipelineId,
    VariableName,
    VariableValue,
)

JmesPath = Annotated[str, Field(min_length=1, max_length=500)]
Glob = Annotated[Identifier, AfterValidator(check_glob)]
Globs = Annotated[tuple[Glob, ...], Field(strict=False)]


def _plain_address(url: str) -> str:
    """Refuse what is no address, and one that holds a user's name or password."""
    if not re.fullmatch(r"https?://[^@/?#\s]+/?", url):
        raise ValueError("must be an address such as http://localhost:9000, without credentials")
    return url


class ArrivalConfig(DocumentModel):
    """What all triggers on new files share: which files count, how often to look, and how to batch them."""

    include: Globs = Field(default=("**",), min_length=1, description="Globs of the files that count.")
    exclude: Globs = Field(default=(), description="Globs of files that don't, even though `include` has them.")
    poll_interval_seconds: float = Field(default=60, ge=1, strict=False, description="How often to look.")
    batch_seconds: float = Field(default=0, ge=0, strict=False, description="Wait this long for more files.")
    batch_files: int | None = Field(
        default=None, ge=1, le=10_000, description="Start at once when so many have arrived; no run gets more of them."
    )
    paths_variable: VariableName | None = Field(default=None, description="The variable that receives the paths.")
    paths_format: Literal["commas", "json"] = Field(
        default="commas", description="Paths joined by commas, or a JSON list, which tells paths with commas apart."
    )
    ignore_existing: bool = Field(
        default=False, description="What lies there when it looks for the first time starts no run."
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


class S3Config(BucketConfig):
    """New objects in a bucket of S3, or of another store that speaks its protocol.

    Without keys, boto's own ways to find them count: variables, profiles, the machine's role.
    """

    endpoint_url: Annotated[str, AfterValidator(_plain_address)] | None = Field(
        default=None, description="The address of a store that is not Amazon's."
    )
    region: Identifier | None = None
    access_key_id: EnvironmentSecret | None = None
    secret_access_key: EnvironmentSecret | None = None

    @model_validator(mode="after")
    def _has_both_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("give both 'accessKeyId' and 'secretAccessKey', or neither")
        return self


class ContainerConfig(ArrivalConfig):
    """New blobs in a container of Azure Blob Storage; credentials come from the environment."""

    container: Identifier
    prefix: str = Field(default="", description="Only blobs whose name begins so.")


class WebhookConfig(DocumentModel):
    """A signed call from outside."""

    secret: EnvironmentSecret = Field(description="The key of the HMAC-SHA256 signature.")
    payload_variable: VariableName | None = Field(
        default=None, description="The variable that receives the body, as text."
    )
    variables: dict[VariableName, JmesPath] | None = Field(
        default=None,
        description="By the name of a variable, where its value stands in the JSON body, in JMESPath.",
    )
    event_id: JmesPath | None = Field(
        default=None,
        description="Where in the JSON body the event's id stands, by which a call that is repeated starts no second "
        "run; otherwise the caller may send it as X-Planasonix-Event-Id.",
    )


UpstreamEnd = Literal["succeeded", "failed", "finished"]


class UpstreamConfig(DocumentModel):
    """Runs of other pipelines have ended."""

    pipeline_id: PipelineId | None = Field(default=None, description="The pipeline whose runs count.")
    pipeline_ids: Annotated[tuple[PipelineId, ...], Field(strict=False)] = Field(
        default=(), description="The pipelines, if there are several."
    )
    mode: Literal["any", "all"] = Field(
        default="any",
        description="`any`: each run of one of them that ends starts a run; `all`: one starts when each pipeline has "
        "had such an end since this trigger's last run.",
    )
    on: UpstreamEnd = Field(default="succeeded", description="Which ends count; `finished` is any, cancellations too.")

    @model_validator(mode="after")
    def _names_pipelines(self) -> Self:
        if (self.pipeline_id is None) == (not self.pipeline_ids):
            raise ValueError("it names its pipelines in one of 'pipelineId' and 'pipelineIds'")
        return self

    @property
    def upstream_ids(self) -> tuple[str, ...]:
        """The ids of the pipelines whose runs count, each once."""
        named = self.pipeline_ids if self.pipeline_id is None else (self.pipeline_id,)
        return tuple(dict.fromkeys(named))

    def place_of(self, pipeline_id: str) -> tuple[str | int, ...]:
        """Return where in the trigger one of these pipelines is named."""
        if self.pipeline_id is not None:
            return ("config", "pipelineId")
        return ("config", "pipelineIds", self.pipeline_ids.index(pipeline_id))


class SqlConfig(DocumentModel):
    """What a query against a database yields."""

    connection_id: Identifier = Field(description="A connection of type `postgres` or `duckdb`.")
    query: Annotated[str, Field(min_length=1)] = Field(description="One SELECT in the SQL of that database.")
    watermark_column: Identifier | None = Field(
        default=None, description="A column of the query: a higher value than ever before starts a run."
    )
    poll_interval_seconds: float = Field(default=60, ge=1, strict=False, description="How often to ask.")
    timeout_seconds: float = Field(default=30, gt=0, le=45, strict=False, description="How long an answer may take.")
    ignore_existing: bool = Field(default=False, description="What is there at the first look starts no run.")
    watermark_variable: VariableName | None = Field(
        default=None, description="The variable that receives the new value."
    )
    rows_variable: VariableName | None = Field(
        default=None, description="The variable that receives the new rows, as JSON: a list of objects."
    )

    @model_validator(mode="after")
    def _has_what_it_passes_on(self) -> Self:
        if self.watermark_variable is not None and self.watermark_column is None:
            raise ValueError("'watermarkVariable' needs a 'watermarkColumn'")
        return self


class BaseTrigger(DocumentModel):
    """What every trigger has."""

    id: Annotated[str, Field(pattern=r"^trg_[A-Za-z0-9_-]+$")]
    name: str | None = None
    enabled: bool = True
    environment_id: Identifier | None = Field(default=None, description="The environment of the runs that it starts.")
    variables: dict[str, VariableValue] = Field(default_factory=dict, description="Set for the runs that it starts.")


class FileWatcherTrigger(BaseTrigger):
    """Starts the pipeline when files arrive in a folder."""

    trigger_type: Literal["file_watcher"]
    config: FileWatcherConfig


class WebhookTrigger(BaseTrigger):
    """Starts the pipeline when its webhook is called."""

    trigger_type: Literal["webhook"]
    config: WebhookConfig


class S3Trigger(BaseTrigger):
    """Starts the pipeline when objects arrive in a bucket of S3."""

    trigger_type: Literal["s3"]
    config: S3Config


class GcsTrigger(BaseTrigger):
    """Starts the pipeline when objects arrive in a bucket of Google Cloud Storage."""

    trigger_type: Literal["gcs"]
    config: BucketConfig


class ContainerTrigger(BaseTrigger):
    """Starts the pipeline when blobs arrive in a container."""

    trigger_type: Literal["azure"]
    config: ContainerConfig


class UpstreamTrigger(BaseTrigger):
    """Starts the pipeline when runs of others have ended."""

    trigger_type: Literal["upstream"]
    config: UpstreamConfig


class SqlTrigger(BaseTrigger):
    """Starts the pipeline when a query yields something new."""

    trigger_type: Literal["sql"]
    config: SqlConfig


TriggerDocument = Annotated[
    FileWatcherTrigger | WebhookTrigger | S3Trigger | GcsTrigger | ContainerTrigger | UpstreamTrigger | SqlTrigger,
    Field(discriminator="trigger_type"),
]
