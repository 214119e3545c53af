"""`planasonix schema`: the JSON Schema of pipeline files or of connections.yaml, for editors."""

import json
from typing import Literal

import click

from planasonix_orchestrator.graph.schema import JsonSchema, config_schema, connections_schema, pipeline_schema
from planasonix_orchestrator.nodes.catalog import NodeCatalog, load_catalog


@click.command("schema")
@click.argument("document", type=click.Choice(["pipeline", "connections"]), default="pipeline")
def schema_command(document: Literal["pipeline", "connections"]) -> None:
    """Print the JSON Schema of pipeline files, or of connections.yaml.

    It knows every node type that is installed here. Editors that speak JSON Schema complete and check with it.
    """
    schema = connections_schema() if document == "connections" else pipeline_schema(_configs(load_catalog()))
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))


def _configs(catalog: NodeCatalog) -> dict[str, JsonSchema]:
    return {
        name: config_schema(node_type.config_model)
        for node_type in catalog
        for name in (node_type.type_name, *node_type.aliases)
    }
