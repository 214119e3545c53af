"""The shapes of the logs resource. Source: the Runs page of the product's API reference (the seed)."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api_adapter.control import OutputStream
from api_adapter.storage import LogLevel
from api_adapter.timestamps import Timestamp

RunId = Annotated[str, Field(examples=["run_01j8k2m4n5p6q7r8s9t0v1w2x3"])]
LogCursor = Annotated[str, Field(examples=["crs_01j8k2m4n5p6q7r8s9t0v1w2x3_0042"])]


class Model(BaseModel):
    """Base of the shapes: camelCase on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class RunLogLine(Model):
    """A line of a run's log."""

    ts: Timestamp = Field(description="When it was logged.")
    level: LogLevel
    node_id: str | None = Field(description="The node that logged it; null for what concerns the run as a whole.")
    message: str = Field(description="What a node logged, or a milestone of the run in plain words.")


class RunLogs(Model):
    """A page of a run's log, oldest first."""

    run_id: RunId
    lines: list[RunLogLine]
    next_cursor: LogCursor | None = Field(
        description="Goes on behind these lines, as `since`; null once the run has ended and all is told."
    )


class RunLogRecord(RunLogLine):
    """A line of the NDJSON stream; `since` its cursor, exactly the rest follows."""

    cursor: LogCursor


class RunOutputUrl(Model):
    """Where the raw output of one of the run's processes can be fetched from."""

    stream: OutputStream
    node_ids: list[str] = Field(description="The nodes that this process ran.")
    url: str = Field(description="Signed: it needs no credential, and whoever has it can read the output.")
    expires_at: Timestamp | None = Field(description="When the URL stops working; null where that is not known.")


class RunOutputUrls(Model):
    """Where the raw output of a run lies; of processes that go on, nothing yet."""

    run_id: RunId
    urls: list[RunOutputUrl]
