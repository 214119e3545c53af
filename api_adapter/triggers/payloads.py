"""What a webhook takes from the body of a call: the id of the event, and values for the pipeline's variables."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import jmespath
from jmespath.exceptions import JMESPathError

from api_adapter.errors import Detail, InvalidRequestError
from planasonix_orchestrator.contract.values import VariableType, VariableValue, VariableValueError, parse_value

EVENT_ID_HEADER = "X-Planasonix-Event-Id"

_LONGEST_EVENT_ID = 255
_HEADER_VALUE = re.compile(r"[ -~]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What has happened: its id, where the caller says one, and the variables of the run that it starts."""

    id: str | None
    variables: Mapping[str, VariableValue]


def read_event(
    body: bytes,
    *,
    header: str | None,
    config: Mapping[str, Any],
    given: Mapping[str, Any],
    declared: Mapping[str, Mapping[str, Any]],
) -> Event:
    """Return the event of a call. `config` is the trigger's, `given` are the variables that it sets in any case.

    `declared` is the `variables` object of the pipeline's document. `InvalidRequestError` if the body is no
    JSON; else it names all that is missing or of a wrong type. What was sent is never repeated.
    """
    payload = _read_json(body)
    problems: list[Detail] = []
    event_id = _event_id(payload, header=header, path=config.get("eventId"), problems=problems)
    variables = {name: _fit(value, variable=declared.get(name)) for name, value in given.items()}
    receiver = config.get("payloadVariable")
    if receiver is not None and body:
        variables[receiver] = body.decode()
    for name, path in (config.get("variables") or {}).items():
        field = f"variables.{name}"
        value = _search(payload, path=path, field=field, problems=problems)
        if value is not None:
            try:
                variables[name] = _fit(value, variable=declared.get(name))
            except VariableValueError as error:
                problems.append(Detail(field, f"{path} in the body must be {_expected(error)}"))
    if problems:
        raise InvalidRequestError("; ".join(f"{one.field}: {one.issue}" for one in problems), details=problems)
    return Event(id=event_id, variables=variables)


def _read_json(body: bytes) -> Any:
    """Return the value of a body, None of an empty one."""
    if not body:
        return None
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # not UTF-8, no JSON, or nested without end
        raise InvalidRequestError.of_field("body", "is not valid JSON") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and its like, which Python takes for JSON


def _event_id(payload: Any, *, header: str | None, path: str | None, problems: list[Detail]) -> str | None:
    """Return the id of the event: what the trigger's path finds, or without a path what the header says."""
    if path is None:
        if header is not None and not _HEADER_VALUE.fullmatch(header):
            issue = f"must have 1 to {_LONGEST_EVENT_ID} printable ASCII characters"
            problems.append(Detail(EVENT_ID_HEADER, issue))
        return header
    value = _search(payload, path=path, field="eventId", problems=problems)
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.isprintable() or not 0 < len(text) <= _LONGEST_EVENT_ID:
        issue = f"{path} in the body must be a whole number, or a text of 1 to {_LONGEST_EVENT_ID} printable characters"
        problems.append(Detail("eventId", issue))
        return None
    return text


def _search(payload: Any, *, path: str, field: str, problems: list[Detail]) -> Any:
    """Return what the path finds in the body; None, and a problem, if that is nothing."""
    try:
        found = jmespath.search(path, payload)
    except JMESPathError:  # as of a function that is given the wrong kind of value
        problems.append(Detail(field, f"{path} can't be found out of this body"))
        return None
    if found is None:
        problems.append(Detail(field, f"{path} is missing from the body"))
    return found


def _fit(value: Any, *, variable: Mapping[str, Any] | None) -> VariableValue:
    """Return a value as its variable's type has it: a number or a boolean is also the text that JSON writes for it."""
    type_name: VariableType = (variable or {}).get("type") or "string"
    if type_name == "string" and isinstance(value, bool | int | float):
        return json.dumps(value)
    return parse_value(value, type_name=type_name)


def _expected(error: VariableValueError) -> str:
    return "a text" if error.type_name == "string" else error.expected
