"""What stands in paths: run and pipeline ids, as parameters of routes and as Dagster knows them."""

from typing import Annotated

from fastapi import Path

from api_adapter.errors import RunNotFoundError
from planasonix_orchestrator.contract.ids import RunIdError, decode_run_id

NO_NUL = r"^[^\x00]+$"  # which Postgres refuses in a text

RunIdPath = Annotated[str, Path(alias="id", description="Run id.", examples=["run_01j8k2m4n5p6q7r8s9t0v1w2x3"])]
PipelineIdPath = Annotated[
    str, Path(alias="id", description="Pipeline id.", pattern=NO_NUL, examples=["pl_02hqabc"], max_length=500)
]


def dagster_run_id(run_id: str) -> str:
    """Return the Dagster run id; one that is no UUID has no other id here than itself."""
    try:
        return decode_run_id(run_id)
    except RunIdError:
        if "\0" in run_id:  # which Postgres refuses in a text
            raise RunNotFoundError(run_id) from None
        return run_id
