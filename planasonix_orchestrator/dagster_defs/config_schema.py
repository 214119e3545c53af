"""A node type's pydantic config as a Dagster config schema, so that the launchpad shows and checks it.

The schema is made from the model's JSON Schema. It checks the shape; values are checked by pydantic when the op has
replaced the `{{ variables }}`. A template is text, so where a number or a choice is expected text is taken as well.
"""

from collections.abc import Mapping
from typing import Any

from dagster import Any as AnyValue
from dagster import Array, Field, Map, Noneable, Permissive, ScalarUnion, Shape
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

JsonSchema = Mapping[str, Any]


def build_config_schema(model: type[BaseModel]) -> Shape:
    """Return the Dagster schema of a config model: camelCase keys, descriptions, defaults, required fields."""
    (_, schema) = models_json_schema([(model, "validation")], by_alias=True)
    definitions: Mapping[str, JsonSchema] = schema.get("$defs", {})
    return _Translation(definitions).shape(definitions[model.__name__], within=(model.__name__,))


class _Translation:
    """Translates JSON Schemas that refer to the same named definitions."""

    def __init__(self, definitions: Mapping[str, JsonSchema]) -> None:
        self._definitions = definitions

    def shape(self, schema: JsonSchema, *, within: tuple[str, ...]) -> Shape:
        """Return the shape of an object with named properties; `within` are the definitions it stands in."""
        required = schema.get("required", ())
        fields = {
            name: self._field(value, required=name in required, within=within)
            for name, value in schema.get("properties", {}).items()
        }
        return Shape(fields, description=schema.get("description"))

    def _field(self, schema: JsonSchema, *, required: bool, within: tuple[str, ...]) -> Field:
        described = _description(schema)
        if required or "default" not in schema:
            return Field(self._type(schema, within=within), is_required=required, description=described)
        return Field(self._type(schema, within=within), default_value=schema["default"], description=described)

    def _type(self, schema: JsonSchema, *, within: tuple[str, ...]) -> Any:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name in within:  # a model that contains itself: Dagster has no such types
                return Permissive()
            return self._type(self._definitions[name], within=(*within, name))
        if "anyOf" in schema or "oneOf" in schema:
            return self._union(schema.get("anyOf") or schema["oneOf"], within=within)
        match schema.get("type"):
            case "object" if "properties" in schema:
                return self.shape(schema, within=within)
            case "object" if isinstance(schema.get("additionalProperties"), Mapping):
                return Map(str, self._type(schema["additionalProperties"], within=within))
            case "object":
                return Permissive()
            case "array":
                return Array(self._type(schema.get("items") or {}, within=within))
            case "string":
                return str
        return AnyValue

    def _union(self, options: list[JsonSchema], *, within: tuple[str, ...]) -> Any:
        some = [option for option in options if option.get("type") != "null"]
        if len(some) < len(options):
            inner = self._type(some[0], within=within) if len(some) == 1 else self._union(some, within=within)
            return AnyValue if inner is AnyValue else Noneable(inner)
        types = [self._type(option, within=within) for option in some]
        match [type_ for type_ in types if type_ is not str]:
            case []:
                return str
            case [Array() | Shape() | Permissive() | Map() as structured] if len(types) == 2:
                return ScalarUnion(scalar_type=str, non_scalar_schema=structured)
        return AnyValue


def _description(schema: JsonSchema) -> str | None:
    choices = _choices(schema)
    expected = f"One of: {', '.join(choices)}." if choices else _expected(schema)
    text = " ".join(part for part in (schema.get("description"), expected) if part)
    return text or None


def _choices(schema: JsonSchema) -> list[str]:
    options = (schema, *schema.get("anyOf", ()))
    return [str(choice) for option in options for choice in option.get("enum", ())]


def _expected(schema: JsonSchema) -> str | None:
    types = {option.get("type") for option in (schema, *schema.get("anyOf", ()))}
    for name, text in (("integer", "A whole number."), ("number", "A number."), ("boolean", "true or false.")):
        if name in types:
            return text
    return None
