"""The node types described: what docs/nodes.md, `planasonix nodes` and editors show, made from the types themselves."""

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from planasonix_orchestrator.nodes.base import Destination, InputPort, NodeType, Source

_MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldReference:
    """A config field. `path` is its key, ``keys[].left`` in a list; `default` is JSON text, None if there is none."""

    path: str
    type: str
    required: bool
    default: str | None
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReference:
    """A node type: `summary` is the first line of what it does, `description` all of it."""

    type: str
    aliases: tuple[str, ...]
    title: str
    category: str
    summary: str
    description: str
    inputs: tuple[InputPort, ...]
    outputs: tuple[str, ...]
    fields: tuple[FieldReference, ...]
    example: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the reference as a JSON object."""
        return asdict(self)


def describe(node_type: NodeType[Any]) -> NodeReference:
    """Return the reference of a node type."""
    description = inspect.getdoc(node_type) or ""
    schema = node_type.config_model.model_json_schema()
    return NodeReference(
        type=node_type.type_name,
        aliases=node_type.aliases,
        title=node_type.title,
        category=_category(node_type),
        summary=description.partition("\n")[0],
        description=description,
        inputs=node_type.inputs,
        outputs=node_type.outputs,
        fields=tuple(_fields(schema, definitions=schema.get("$defs", {}))),
        example=node_type.example,
    )


def markdown(node_types: Iterable[NodeType[Any]]) -> str:
    """Return docs/nodes.md: every node type with its ports, config and example."""
    references = [describe(node_type) for node_type in node_types]
    parts = [_INTRODUCTION]
    for category in dict.fromkeys(reference.category for reference in references):
        parts.append(f"## {category}\n")
        parts.extend(section(reference) for reference in references if reference.category == category)
    return "\n".join(parts)


def example_yaml(reference: NodeReference) -> str:
    """Return the example as it stands in a pipeline document's list of nodes."""
    node = {"id": f"n_{reference.type.rpartition('.')[2]}", "type": reference.type, "config": _plain(reference.example)}
    return yaml.safe_dump([node], sort_keys=False, allow_unicode=True, width=100)


_INTRODUCTION = """# Node types

Written by `planasonix nodes --markdown` from the node types themselves; `make docs` brings it up to date.
A node's short ids may stand for its type. Any string in a config may hold `{{ variables }}`.
Rows reach a node through its inputs: an edge without `targetPort` goes to the next free one.
Column names are compared without regard to case. To write a node type of your own, see
[write-a-node.md](write-a-node.md).
"""


def _category(node_type: NodeType[Any]) -> str:
    if isinstance(node_type, Source):
        return "Sources"
    return "Destinations" if isinstance(node_type, Destination) else "Transforms"


def section(reference: NodeReference) -> str:
    """Return the part of docs/nodes.md about one node type."""
    aliases = f" (short: {', '.join(f'`{alias}`' for alias in reference.aliases)})" if reference.aliases else ""
    rows = "\n".join(_row(field) for field in reference.fields)
    return f"""### {reference.title}

`{reference.type}`{aliases}. {_ports(reference)}

{reference.description}

| Config | Type | Default | Meaning |
|---|---|---|---|
{rows}

```yaml
{example_yaml(reference)}```
"""


def _ports(reference: NodeReference) -> str:
    inputs = ", ".join(
        f"`{port.name}`{' (any number of edges)' if port.many else ''}{'' if port.required else ' (optional)'}"
        for port in reference.inputs
    )
    outputs = ", ".join(f"`{name}`" for name in reference.outputs)
    return f"Inputs: {inputs or 'none'}. Outputs: {outputs or 'none'}."


def _row(field: FieldReference) -> str:
    default = "required" if field.required else f"`{field.default}`" if field.default is not None else ""
    cells = (f"`{field.path}`", field.type, default, field.description)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _fields(schema: Mapping[str, Any], *, definitions: Mapping[str, Any], prefix: str = "") -> Iterator[FieldReference]:
    required = schema.get("required", ())
    for key, value in schema.get("properties", {}).items():
        resolved = _resolve(value, definitions)
        default = value.get("default", _MISSING)
        yield FieldReference(
            path=prefix + key,
            type=_type_text(resolved, definitions),
            required=key in required,
            default=None if default is _MISSING or default is None else json.dumps(default, ensure_ascii=False),
            description=value.get("description", ""),
        )
        items = _resolve(resolved["items"], definitions) if "items" in resolved else {}
        yield from _fields(resolved, definitions=definitions, prefix=f"{prefix}{key}.")
        yield from _fields(items, definitions=definitions, prefix=f"{prefix}{key}[].")


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema stands for: the definition that it refers to, and without an `or null`."""
    if "$ref" in schema:
        return _resolve(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    return _resolve(options[0], definitions) if len(options) == 1 else schema


def _type_text(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    schema = _resolve(schema, definitions)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(
            _type_text(option, definitions) for option in schema["anyOf"] if option.get("type") != "null"
        )
    if schema.get("type") == "array":
        return f"list of {_type_text(schema.get('items', {}), definitions)}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"map of {_type_text(schema['additionalProperties'], definitions)}"
    return str(schema.get("type", "any value"))


def _plain(value: object) -> object:
    """Return the value in types that YAML has."""
    return json.loads(json.dumps(value))
