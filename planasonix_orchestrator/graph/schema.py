"""JSON Schema (2020-12) of the files that people write, for editors that complete and check them."""

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel
from pydantic.json_schema import GenerateJsonSchema

from planasonix_orchestrator.graph.beside import SCHEMA_KEY
from planasonix_orchestrator.graph.connections import ConnectionsDocument
from planasonix_orchestrator.graph.document import EdgeDocument, NodeDocument, PipelineDocument
from planasonix_orchestrator.graph.environments import EnvironmentsDocument
from planasonix_orchestrator.graph.exported import EDGE_KEYS, NODE_KEYS, PIPELINE_KEYS
from planasonix_orchestrator.graph.webhooks import WebhooksDocument

JsonSchema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEMPLATE = {"type": "string", "pattern": r"\{\{.*\}\}", "description": "A text with `{{ variables }}`."}


def pipeline_schema(node_configs: Mapping[str, JsonSchema] | None = None) -> JsonSchema:
    """Return the schema of a pipeline file.

    `node_configs` holds the schema of each node type's config by type name and alias. With it, a node's `type` must
    be one of them, and its `config` what that type says; a template may stand for any value in a config.
    """
    schema = _model_schema(PipelineDocument, title="Planasonix pipeline")
    definitions = schema["$defs"]
    _allow(schema, PIPELINE_KEYS)
    _allow(definitions[NodeDocument.__name__], NODE_KEYS)
    _allow(definitions[EdgeDocument.__name__], EDGE_KEYS)
    _add_edge_choices(definitions[EdgeDocument.__name__])
    if node_configs:
        _add_node_types(definitions, node_configs)
    return schema


def connections_schema() -> JsonSchema:
    """Return the schema of `connections.yaml`."""
    return _beside_schema(ConnectionsDocument, title="Planasonix connections")


def environments_schema() -> JsonSchema:
    """Return the schema of `environments.yaml`."""
    return _beside_schema(EnvironmentsDocument, title="Planasonix environments")


def webhooks_schema() -> JsonSchema:
    """Return the schema of `webhooks.yaml`."""
    return _beside_schema(WebhooksDocument, title="Planasonix webhooks")


def config_schema(model: type[BaseModel]) -> JsonSchema:
    """Return the schema of a node type's config, as `pipeline_schema` takes it."""
    return model.model_json_schema(schema_generator=_WithoutFieldTitles)


def _model_schema(model: type[BaseModel], *, title: str) -> JsonSchema:
    return {"$schema": _DIALECT, **config_schema(model), "title": title}


def _beside_schema(model: type[BaseModel], *, title: str) -> JsonSchema:
    schema = _model_schema(model, title=title)
    schema["properties"][SCHEMA_KEY] = {"type": "string"}
    return schema


class _WithoutFieldTitles(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes up of field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _allow(schema: JsonSchema, keys: frozenset[str]) -> None:
    note = {"description": "Written by Planasonix; ignored here."}
    schema["properties"] |= {key: note for key in sorted(keys) if key not in schema["properties"]}


def _add_edge_choices(schema: JsonSchema) -> None:
    """Offer each key of an edge under all its names, of which exactly one says where a required end is."""
    for field in EdgeDocument.model_fields.values():
        alias = field.validation_alias
        names = [name for name in alias.choices if "_" not in str(name)] if isinstance(alias, AliasChoices) else []
        for name in names:
            schema["properties"][name] = schema["properties"][names[0]]
        if names and field.is_required():
            schema["required"].remove(names[0])
            schema.setdefault("allOf", []).append({"oneOf": [{"required": [name]} for name in names]})
    del schema["required"]


def _add_node_types(definitions: JsonSchema, node_configs: Mapping[str, JsonSchema]) -> None:
    node = definitions[NodeDocument.__name__]
    groups: dict[str, list[str]] = {}  # a type's first name, then its aliases
    for name, config in node_configs.items():
        first = next((known for known in groups if node_configs[known] == config), name)
        groups.setdefault(first, []).append(name)
    node["properties"]["type"]["enum"] = sorted(node_configs)
    node["allOf"] = [
        {
            "if": {"properties": {"type": {"enum": names}}, "required": ["type"]},
            "then": _config_condition(first, node_configs[first]),
        }
        for first, names in groups.items()
    ]
    for first in groups:
        _add_config(definitions, first, node_configs[first])


def _config_condition(name: str, config: JsonSchema) -> JsonSchema:
    condition: JsonSchema = {"properties": {"config": {"$ref": f"#/$defs/{_definition(name)}"}}}
    return {**condition, "required": ["config"]} if config.get("required") else condition


def _definition(name: str) -> str:
    return f"config.{name}"


def _add_config(definitions: JsonSchema, name: str, config: JsonSchema) -> None:
    prefix = _definition(name)
    for inner, schema in config.get("$defs", {}).items():
        definitions[f"{prefix}.{inner}"] = _rewritten(schema, prefix=prefix)
    definitions[prefix] = _rewritten({key: config[key] for key in config if key != "$defs"}, prefix=prefix)


def _rewritten(schema: Any, *, prefix: str) -> Any:
    """Return a config's schema as part of ours: its references renamed, templates allowed for what is not a text."""
    if isinstance(schema, list):
        return [_rewritten(item, prefix=prefix) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rewritten = {key: _rewritten_member(key, value, prefix=prefix) for key, value in schema.items()}
    if schema.get("type") in {"integer", "number", "boolean"} or (schema.get("type") == "string" and len(schema) > 1):
        return _or_template(rewritten)
    return rewritten


def _rewritten_member(key: str, value: Any, *, prefix: str) -> Any:
    if key == "$ref":
        return str(value).replace("#/$defs/", f"#/$defs/{prefix}.")
    if key in {"default", "examples", "enum", "const", "discriminator"}:
        return value
    if key == "properties":  # its keys are the user's words, not the schema language's
        return {name: _rewritten(schema, prefix=prefix) for name, schema in value.items()}
    return _rewritten(value, prefix=prefix)


def _or_template(schema: JsonSchema) -> JsonSchema:
    constraints = {"type", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    constraints |= {"minLength", "maxLength", "multipleOf", "format"}
    inner = {key: schema[key] for key in schema if key in constraints}
    if inner == {"type": "string"}:
        return schema
    return {**{key: schema[key] for key in schema if key not in constraints}, "anyOf": [inner, _TEMPLATE]}
