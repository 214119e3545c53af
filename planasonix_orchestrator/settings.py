"""Settings of the orchestrator, read from the environment when asked for, never at import."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planasonix_orchestrator.errors import PlanasonixError

PIPELINES_VARIABLE = "PLANASONIX_PIPELINES"
POSTGRES_URL_VARIABLE = "PLANASONIX_POSTGRES_URL"
STATE_VARIABLE = "PLANASONIX_STATE"
MEMORY_LIMIT_VARIABLE = "PLANASONIX_MEMORY_LIMIT"
THREADS_VARIABLE = "PLANASONIX_THREADS"
CODE_SERVER_PORT_VARIABLE = "PLANASONIX_CODE_SERVER_PORT"
DAGSTER_HOME_VARIABLE = "DAGSTER_HOME"


class InvalidSettingError(PlanasonixError):
    """An environment variable whose value can't be used."""

    def __init__(self, variable: str, value: str, *, expected: str) -> None:
        super().__init__(f"{variable} is {value!r}; expected {expected}.")
        self.variable = variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where things lie and how much a run may use.

    `pipelines`: the folder of pipeline documents; relative paths in node configs start there.
    `state`: everything the stack writes (Postgres data, Dagster home, logs, spill files).
    `postgres_url`: None stands for the embedded server, with its data under `state`.
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

    @property
    def runs(self) -> Path:
        """The folder under which the run host keeps what belongs to each run in flight."""
        return self.state / "runs"

    @property
    def dagster_home(self) -> Path:
        """The folder of dagster.yaml, where Dagster keeps the logs of computing processes too."""
        return self.state / "dagster"

    @property
    def logs(self) -> Path:
        """The folder of the stack's logs, one file for each part."""
        return self.state / "logs"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that the environment (by default the process's own) asks for; empty means unset."""
    values = os.environ if environment is None else environment
    return Settings(
        pipelines=Path(values.get(PIPELINES_VARIABLE) or "pipelines").absolute(),
        state=Path(values.get(STATE_VARIABLE) or ".planasonix").absolute(),
        postgres_url=values.get(POSTGRES_URL_VARIABLE) or None,
        memory_limit=values.get(MEMORY_LIMIT_VARIABLE) or None,
        threads=_threads(values.get(THREADS_VARIABLE)),
    )


def _threads(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise InvalidSettingError(THREADS_VARIABLE, text, expected="a number of threads, 1 or more")
    return int(text)
