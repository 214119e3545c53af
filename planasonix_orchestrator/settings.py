"""Settings of the orchestrator, read from the environment when asked for, never at import."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PIPELINES_VARIABLE = "PLANASONIX_PIPELINES"
POSTGRES_URL_VARIABLE = "PLANASONIX_POSTGRES_URL"
STATE_VARIABLE = "PLANASONIX_STATE"
MEMORY_LIMIT_VARIABLE = "PLANASONIX_MEMORY_LIMIT"
THREADS_VARIABLE = "PLANASONIX_THREADS"
CODE_SERVER_PORT_VARIABLE = "PLANASONIX_CODE_SERVER_PORT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where things lie and how much a run may use.

    `pipelines`: the folder of pipeline documents; relative paths in node configs start there.
    `state`: everything the stack writes (Postgres data, Dagster home, logs, spill files).
    `memory_limit`: per run, as DuckDB writes it (``4GB``); None leaves DuckDB's default, 80 % of the machine.
    `threads`: per run; None means one per core.
    """

    pipelines: Path
    state: Path
    postgres_url: str | None = None
    memory_limit: str | None = None
    threads: int | None = None

    @property
    def spill(self) -> Path:
        """The folder under which each run makes its own spill folder."""
        return self.state / "spill"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the environment (by default the process's own) asks for."""
    values = os.environ if environment is None else environment
    threads = values.get(THREADS_VARIABLE)
    return Settings(
        pipelines=Path(values.get(PIPELINES_VARIABLE, "pipelines")).absolute(),
        state=Path(values.get(STATE_VARIABLE, ".planasonix")).absolute(),
        postgres_url=values.get(POSTGRES_URL_VARIABLE),
        memory_limit=values.get(MEMORY_LIMIT_VARIABLE),
        threads=int(threads) if threads else None,
    )
