"""Settings of the API, read from the environment when the service starts, never at import."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POSTGRES_URL_VARIABLE = "PLANASONIX_POSTGRES_URL"
CODE_SERVER_PORT_VARIABLE = "PLANASONIX_CODE_SERVER_PORT"
DAGSTER_HOME_VARIABLE = "DAGSTER_HOME"
DEFAULT_CODE_SERVER_PORT = 4266


class MissingSettingError(Exception):
    """A setting without which the API can't start."""

    def __init__(self, variable: str, *, meaning: str) -> None:
        super().__init__(f"Set {variable} to {meaning}. `planasonix env` prints the exports of a running stack.")
        self.variable = variable


class InvalidSettingError(Exception):
    """A setting whose value can't be used."""

    def __init__(self, variable: str, value: str, *, expected: str) -> None:
        super().__init__(f"{variable} is {value!r}; expected {expected}.")
        self.variable = variable


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Where the API finds Dagster: its Postgres, its home (the folder of dagster.yaml) and its code server."""

    postgres_url: str
    dagster_home: str
    code_server_host: str = "127.0.0.1"
    code_server_port: int = DEFAULT_CODE_SERVER_PORT


def load_settings(environment: Mapping[str, str] | None = None) -> ApiSettings:
    """Return the settings that the environment (by default the process's own) asks for."""
    values = os.environ if environment is None else environment
    return ApiSettings(
        postgres_url=_required(values, POSTGRES_URL_VARIABLE, "the URL of Dagster's Postgres database"),
        dagster_home=_home(values),
        code_server_port=_port(values),
    )


def _required(values: Mapping[str, str], variable: str, meaning: str) -> str:
    value = values.get(variable)
    if not value:
        raise MissingSettingError(variable, meaning=meaning)
    return value


def _home(values: Mapping[str, str]) -> str:
    """Refuse a home without dagster.yaml: Dagster would quietly keep its record elsewhere than in Postgres."""
    home = _required(values, DAGSTER_HOME_VARIABLE, "the folder that holds dagster.yaml")
    if not (Path(home) / "dagster.yaml").is_file():
        raise InvalidSettingError(DAGSTER_HOME_VARIABLE, home, expected="a folder that holds dagster.yaml")
    return home


def _port(values: Mapping[str, str]) -> int:
    text = values.get(CODE_SERVER_PORT_VARIABLE) or str(DEFAULT_CODE_SERVER_PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise InvalidSettingError(CODE_SERVER_PORT_VARIABLE, text, expected="a port number")
    return int(text)
