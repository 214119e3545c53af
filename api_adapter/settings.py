"""Settings of the API, read from the environment when the service starts, never at import."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

POSTGRES_URL_VARIABLE = "PLANASONIX_POSTGRES_URL"
CODE_SERVER_PORT_VARIABLE = "PLANASONIX_CODE_SERVER_PORT"
DAGSTER_HOME_VARIABLE = "DAGSTER_HOME"
JWT_ISSUER_VARIABLE = "PLANASONIX_JWT_ISSUER"
JWT_AUDIENCE_VARIABLE = "PLANASONIX_JWT_AUDIENCE"
JWT_JWKS_URL_VARIABLE = "PLANASONIX_JWT_JWKS_URL"
JWT_KEY_FILE_VARIABLE = "PLANASONIX_JWT_KEY_FILE"
RATE_LIMIT_VARIABLE = "PLANASONIX_RATE_LIMIT"
FAILED_LOGIN_LIMIT_VARIABLE = "PLANASONIX_FAILED_LOGIN_LIMIT"
STREAMS_PER_KEY_VARIABLE = "PLANASONIX_STREAMS_PER_KEY"
CORS_ORIGINS_VARIABLE = "PLANASONIX_CORS_ORIGINS"
COST_UNITS_VARIABLE = "PLANASONIX_COST_UNITS"
CANCEL_FINISHED_STATUS_VARIABLE = "PLANASONIX_CANCEL_FINISHED_STATUS"
QUEUE_CAP_VARIABLE = "PLANASONIX_QUEUE_CAP"
DEFAULT_CODE_SERVER_PORT = 4266
DEFAULT_RATE_LIMIT = "1200/minute"
DEFAULT_FAILED_LOGIN_LIMIT = "20/minute"
DEFAULT_STREAMS_PER_KEY = 50
DEFAULT_QUEUE_CAP = 1000


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


class InvalidPostgresUrlError(InvalidSettingError):
    """The URL of the database can't be used; it may hold a password, so that it is not repeated."""

    def __init__(self) -> None:
        super().__init__(
            POSTGRES_URL_VARIABLE, "...", expected="a URL such as postgresql://user:password@host:5432/database"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """Whose JSON Web Tokens are accepted: their issuer and audience, and where their keys are found."""

    issuer: str
    audience: str
    jwks_url: str | None = None
    key_file: Path | None = None


# Units for one of each metric of a run. One unit is a minute of one core, or as much as moves in it: about 10 GB.
DEFAULT_COST_UNITS: Mapping[str, float] = {
    "cpuSeconds": 1 / 60,
    "bytesRead": 1e-10,
    "bytesWritten": 1e-10,
    "bytesShuffled": 1e-10,
}
COST_METRICS = frozenset({"rowsRead", "rowsWritten", *DEFAULT_COST_UNITS})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Where the API finds Dagster (its Postgres, its home with dagster.yaml, its code server), and how it behaves.

    `rate_limit` is each key's budget and `failed_login_limit` each client's, as ``600/minute``; `streams_per_key`
    counts streams that are open at once. `cost_units` are the weights of a run's metrics in its `costUnits`.
    `cancel_finished_status` answers a wish to cancel a run that has ended. `queue_cap` is how many runs
    may wait before webhooks are told to come again later.
    """

    postgres_url: str
    dagster_home: str
    code_server_host: str = "127.0.0.1"
    code_server_port: int = DEFAULT_CODE_SERVER_PORT
    jwt: JwtSettings | None = None
    rate_limit: str = DEFAULT_RATE_LIMIT
    failed_login_limit: str = DEFAULT_FAILED_LOGIN_LIMIT
    streams_per_key: int = DEFAULT_STREAMS_PER_KEY
    cors_origins: tuple[str, ...] = ()
    cost_units: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_COST_UNITS))
    cancel_finished_status: int = 409
    queue_cap: int = DEFAULT_QUEUE_CAP


def load_settings(environment: Mapping[str, str] | None = None) -> ApiSettings:
    """Return the settings that the environment (by default the process's own) asks for; empty means unset."""
    given = os.environ if environment is None else environment
    values = {name: value for name, value in given.items() if value}
    return ApiSettings(
        postgres_url=read_postgres_url(values),
        dagster_home=_home(values),
        code_server_port=_number(values, CODE_SERVER_PORT_VARIABLE, DEFAULT_CODE_SERVER_PORT, most=65535),
        jwt=_jwt(values),
        rate_limit=_rate(values, RATE_LIMIT_VARIABLE, DEFAULT_RATE_LIMIT),
        failed_login_limit=_rate(values, FAILED_LOGIN_LIMIT_VARIABLE, DEFAULT_FAILED_LOGIN_LIMIT),
        streams_per_key=_number(values, STREAMS_PER_KEY_VARIABLE, DEFAULT_STREAMS_PER_KEY, most=1_000_000),
        cors_origins=tuple(values.get(CORS_ORIGINS_VARIABLE, "").replace(",", " ").split()),
        cost_units=_cost_units(values),
        cancel_finished_status=_cancel_status(values),
        queue_cap=_number(values, QUEUE_CAP_VARIABLE, DEFAULT_QUEUE_CAP, most=1_000_000),
    )


def read_postgres_url(values: Mapping[str, str]) -> str:
    """Return the URL of Dagster's database; `MissingSettingError` or `InvalidPostgresUrlError` if it can't be one."""
    url = _required(values, POSTGRES_URL_VARIABLE, "the URL of Dagster's Postgres database")
    try:
        kind = make_url(url).get_backend_name()
    except (ArgumentError, ValueError):
        raise InvalidPostgresUrlError from None  # a stack of theirs could show parts of the URL
    if kind not in {"postgresql", "postgres"}:
        raise InvalidPostgresUrlError
    return url


def _required(values: Mapping[str, str], variable: str, meaning: str) -> str:
    if variable not in values:
        raise MissingSettingError(variable, meaning=meaning)
    return values[variable]


def _home(values: Mapping[str, str]) -> str:
    """Refuse a home without dagster.yaml: Dagster would quietly keep its record elsewhere than in Postgres."""
    home = _required(values, DAGSTER_HOME_VARIABLE, "the folder that holds dagster.yaml")
    if not (Path(home) / "dagster.yaml").is_file():
        raise InvalidSettingError(DAGSTER_HOME_VARIABLE, home, expected="a folder that holds dagster.yaml")
    return home


def _number(values: Mapping[str, str], variable: str, default: int, *, most: int) -> int:
    text = values.get(variable, str(default))
    if not text.isdecimal() or not 0 < int(text) <= most:
        raise InvalidSettingError(variable, text, expected=f"a number from 1 to {most}")
    return int(text)


def _rate(values: Mapping[str, str], variable: str, default: str) -> str:
    text = values.get(variable, default)
    if not re.fullmatch(r"[1-9][0-9]{0,9}/(second|minute|hour|day)", text):
        raise InvalidSettingError(variable, text, expected="a rate such as 600/minute")
    return text


def _jwt(values: Mapping[str, str]) -> JwtSettings | None:
    """Accept tokens only where all of issuer, audience and keys are told; a part of it is a mistake."""
    names = (JWT_ISSUER_VARIABLE, JWT_AUDIENCE_VARIABLE, JWT_JWKS_URL_VARIABLE, JWT_KEY_FILE_VARIABLE)
    if not any(name in values for name in names):
        return None
    url, file = values.get(JWT_JWKS_URL_VARIABLE), values.get(JWT_KEY_FILE_VARIABLE)
    if (url is None) == (file is None):
        raise MissingSettingError(JWT_JWKS_URL_VARIABLE, meaning=f"where the keys are, or {JWT_KEY_FILE_VARIABLE}")
    if url is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        raise InvalidSettingError(JWT_JWKS_URL_VARIABLE, url, expected="a URL, http or https")
    if file is not None and not Path(file).is_file():
        raise InvalidSettingError(JWT_KEY_FILE_VARIABLE, file, expected="a file of keys, PEM or JWKS")
    return JwtSettings(
        issuer=_required(values, JWT_ISSUER_VARIABLE, "the issuer (iss) of accepted tokens"),
        audience=_required(values, JWT_AUDIENCE_VARIABLE, "the audience (aud) of accepted tokens"),
        jwks_url=url,
        key_file=Path(file) if file else None,
    )


def _cost_units(values: Mapping[str, str]) -> Mapping[str, float]:
    text = values.get(COST_UNITS_VARIABLE)
    if text is None:
        return dict(DEFAULT_COST_UNITS)
    expected = f"weights such as cpuSeconds=0.0167,bytesRead=1e-10, of {', '.join(sorted(COST_METRICS))}"
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = (piece.strip() for piece in part.partition("="))
        if name not in COST_METRICS or not re.fullmatch(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", weight):
            raise InvalidSettingError(COST_UNITS_VARIABLE, text, expected=expected)
        weights[name] = float(weight)
    return weights


def _cancel_status(values: Mapping[str, str]) -> int:
    text = values.get(CANCEL_FINISHED_STATUS_VARIABLE, "409")
    if text not in {"400", "409"}:
        raise InvalidSettingError(CANCEL_FINISHED_STATUS_VARIABLE, text, expected="400 or 409")
    return int(text)
