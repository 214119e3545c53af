"""Ids: ``run_`` and the Dagster run's UUID in Crockford base32, both ways, with no table between them."""

import re
from functools import lru_cache
from uuid import UUID

RUN_PREFIX = "run_"
BACKFILL_PREFIX = "bkf_"
MESSAGE_PREFIX = "msg_"
PIPELINE_PREFIX = "pl_"  # with a job's name behind it, the id of what is no pipeline of ours
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_LENGTH = 26  # 128 bits in groups of 5
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)  # of 10 bits
_SHIFTS = range(120, -1, -10)


class RunIdError(ValueError):
    """A text that is not a run id."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is not a run id: expected {RUN_PREFIX} and {_LENGTH} base32 characters")
        self.text = text


def encode_run_id(dagster_run_id: str) -> str:
    """Return the API's id of a Dagster run, ``run_06a3...``; `RunIdError` if it is not a UUID as Dagster writes it."""
    if not _UUID.fullmatch(dagster_run_id):
        raise RunIdError(dagster_run_id)
    return RUN_PREFIX + _digits(dagster_run_id)


@lru_cache(maxsize=4096)  # those who watch runs list the same ones again and again
def api_run_id(dagster_run_id: str) -> str:
    """Return the API's id of a run; a run id that is no UUID (a caller's own choice in Dagster) stands as it is."""
    try:
        return encode_run_id(dagster_run_id)
    except RunIdError:
        return dagster_run_id


def encode_backfill_id(uuid: str) -> str:
    """Return the id of a backfill, ``bkf_06a3...``, made of a UUID."""
    return BACKFILL_PREFIX + _digits(uuid)


def encode_message_id(uuid: str) -> str:
    """Return the id of a webhook's message, ``msg_06a3...``, made of a UUID."""
    return MESSAGE_PREFIX + _digits(uuid)


def _digits(uuid: str) -> str:
    number = int(uuid.replace("-", ""), 16)
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def decode_run_id(run_id: str) -> str:
    """Return the Dagster run id (a lower-case UUID) of an API run id; `RunIdError` for any other text."""
    digits = run_id.removeprefix(RUN_PREFIX)
    if digits == run_id or len(digits) != _LENGTH or not set(digits) <= _VALUES.keys():
        raise RunIdError(run_id)
    number = 0
    for digit in digits:
        number = number << 5 | _VALUES[digit]
    if number >> 128:
        raise RunIdError(run_id)
    return str(UUID(int=number))
