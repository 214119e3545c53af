"""What pydantic refuses, in the words of the document: a fault for each place, with the nearest known key."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from planasonix_orchestrator.graph.model import EnvironmentSecret
from planasonix_orchestrator.graph.source import DocumentPath, Fault

_SECRET = EnvironmentSecret.__name__
_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}


def model_faults(
    error: ValidationError, *, model: type[BaseModel], data: Any, prefix: DocumentPath = ()
) -> tuple[Fault, ...]:
    """Return the faults of `data`, which `model` refused with `error`; their paths begin with `prefix`.

    Codes: `missing_field`, `unknown_field`, `invalid_value`, `plain_secret`. Errors of the members of a
    union become one fault.
    """
    errors = [(_path(detail, data), detail) for detail in error.errors(include_url=False)]
    targets = [_target(path, detail) for path, detail in errors]
    groups: dict[tuple[DocumentPath, str], list[ErrorDetails]] = {}
    for (path, detail), target in zip(errors, targets, strict=True):
        if not _is_noise(detail, target, targets):
            code = _code(detail)
            groups.setdefault((path if code != "missing_field" else target, code), []).append(detail)
    return tuple(_fault(code, path, details, model, prefix) for (path, code), details in groups.items())


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the known word most like this one, or all of them if none is like it."""
    known = sorted(known)
    lowered = {name.lower(): name for name in reversed(known)}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    return f"known: {', '.join(known)}" if known else None


def _code(detail: ErrorDetails) -> str:
    if detail.get("ctx", {}).get("class_name") == _SECRET:
        return "plain_secret"
    return {"missing": "missing_field", "extra_forbidden": "unknown_field"}.get(detail["type"], "invalid_value")


def _path(detail: ErrorDetails, data: Any) -> DocumentPath:
    """Return the location without pydantic's names of union members, which are nowhere in the data."""
    loc = detail["loc"]
    tag = (_discriminator(detail),) if detail["type"] == "union_tag_invalid" else ()
    path: list[str | int] = []
    for part in (*loc, *tag):
        is_item = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if is_item or (isinstance(data, dict) and part in data):
            path.append(part)
            data = data[part]
    return tuple(path)


def _target(path: DocumentPath, detail: ErrorDetails) -> DocumentPath:
    return (*path, detail["loc"][-1]) if detail["type"] == "missing" else path


def _is_noise(detail: ErrorDetails, target: DocumentPath, targets: Iterable[DocumentPath]) -> bool:
    """Tell whether an error only says that another member of a union fits worse, or that bad items don't count."""
    if detail["type"] == "too_short":
        return bool(len(detail["input"]) >= detail["ctx"]["min_length"])
    is_union_member = detail["type"] in _EXPECTED and isinstance(detail["input"], dict)
    return is_union_member and any(other[: len(target)] == target and other != target for other in targets)


def _fault(
    code: str, path: DocumentPath, details: Sequence[ErrorDetails], model: type[BaseModel], prefix: DocumentPath
) -> Fault:
    detail = details[0]
    known = _known_keys(model, detail["loc"][:-1])
    hint: str | None
    if code == "missing_field":
        message, hint = f"{path[-1]!r} is missing", known.get(str(path[-1]))
        path = path[:-1]
    elif code == "unknown_field" and path[-1] in known:
        message, hint = f"{path[-1]!r} says what another key here says too", "keep one of them"
    elif code == "unknown_field":
        message, hint = f"unknown key {path[-1]!r}", nearest(str(path[-1]), known)
    elif code == "plain_secret":  # what stands there now is nobody's business
        message = f"{path[-1]!r} must be a secret by name: {{env: NAME}}"
        hint = "put the secret into an environment variable, and the variable's name here"
    else:
        message, hint = _value_message(path, details), _value_hint(detail)
    return Fault(code=code, message=message, path=(*prefix, *path), hint=hint)


def _value_message(path: DocumentPath, details: Sequence[ErrorDetails]) -> str:
    detail = details[0]
    name = next((repr(part) for part in reversed(path) if isinstance(part, str)), "the document")
    if path and isinstance(path[-1], int):
        name = f"item {path[-1]} of {name}"
    if detail["type"] == "union_tag_not_found":
        return f"{name} has no {_discriminator(detail)!r}"
    if all(each["type"] in _EXPECTED for each in details):
        expected = "be " + " or ".join(dict.fromkeys(_EXPECTED[each["type"]] for each in details))
    else:
        expected = " or ".join(dict.fromkeys(_expected(each) for each in details))
    given = detail["ctx"]["tag"] if detail["type"] == "union_tag_invalid" else detail["input"]
    if detail["type"] == "value_error":
        return f"{name}: {detail['ctx']['error']}" if path else str(detail["ctx"]["error"])
    return f"{name} must {expected}, not {_shown(given)}"


def _expected(detail: ErrorDetails) -> str:
    if detail["type"] in _EXPECTED:
        return f"be {_EXPECTED[detail['type']]}"
    if detail["type"] == "too_short":
        return f"have at least {detail['ctx']['min_length']} item"
    if detail["type"] == "union_tag_invalid":
        return f"be one of {detail['ctx']['expected_tags']}"
    message = re.sub(r"^(Input|String|Tuple|List|Value|Dictionary|Number) should ", "", detail["msg"])
    return message if message != detail["msg"] else f"be right ({message})"


def _value_hint(detail: ErrorDetails) -> str | None:
    context = detail.get("ctx", {})
    if detail["type"] in {"union_tag_invalid", "literal_error"}:
        words = re.findall(r"'([^']*)'", context.get("expected_tags") or context["expected"])
        return nearest(str(context.get("tag", detail["input"])), words)
    if detail["type"] == "union_tag_not_found":
        return f"add {_discriminator(detail)!r}"
    prefix = re.match(r"\^([a-z]+_)", context.get("pattern", ""))
    return f"it begins with {prefix[1]!r}" if prefix else None


def _discriminator(detail: ErrorDetails) -> str:
    """Return the key that says which member of a union it is; pydantic lists its names, ours is the last."""
    return str(detail["ctx"]["discriminator"]).split("'")[-2]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _known_keys(model: type[BaseModel], loc: Sequence[str | int]) -> dict[str, str | None]:
    """Return the keys that can stand at a location, as a document writes them, with what they mean."""
    models: tuple[type[BaseModel], ...] = (model,)
    for part in loc:
        fields = [field for each in models for name, field in _fields(each) if part == name]
        if fields:
            models = tuple(found for field in fields for found in _models(field.annotation))
        else:
            models = tuple(each for each in models if _is_member(each, part)) or models
    return {name: field.description for each in models for name, field in _fields(each)}


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield each field under each key that a document may use for it, in camelCase."""
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            yield from ((choice, field) for choice in alias.choices if isinstance(choice, str) and "_" not in choice)
        else:
            yield str(alias or field.alias or name), field


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _is_member(model: type[BaseModel], part: str | int) -> bool:
    """Tell whether pydantic calls this member of a union so: by its class, or by the value of its discriminator."""
    return part == model.__name__ or any(part in get_args(field.annotation) for _, field in _fields(model))
