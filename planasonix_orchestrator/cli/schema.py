"""`planasonix schema`: the JSON Schemas of what stands in the pipelines folder, for editors."""

import json
from typing import Literal, get_args

import click

from planasonix_orchestrator.graph.schema import (
    JsonSchema,
    config_schema,
    connections_schema,
    environments_schema,
    pipeline_schema,
    webhooks_schema,
)
from planasonix_orchestrator.nodes.catalog import NodeCatalog, load_catalog

Document = Literal["pipeline", "connections", "environments", "webhooks"]


@click.command("schema")
@click.argument("document", type=click.Choice(get_args(Document)), default="pipeline")
def schema_command(document: Document) -> None:
    """Print the JSON Schema of pipeline files, or of connections.yaml, environments.yaml or webhooks.yaml.

    It knows every node type that is installed here. Editors that speak JSON Schema complete and check with it.
    """
    click.echo(json.dumps(_schema(document), indent=2, ensure_ascii=False))


def _schema(document: Document) -> JsonSchema:
    match document:
        case "pipeline":
            return pipeline_schema(_configs(load_catalog()))
        case "connections":
            return connections_schema()
        case "environments":
            return environments_schema()
        case "webhooks":
            return webhooks_schema()


def _configs(catalog: NodeCatalog) -> dict[str, JsonSchema]:
    return {
        name: config_schema(node_type.config_model)
        for node_type in catalog
        for name in (node_type.type_name, *node_type.aliases)
    }
