"""`planasonix schema`: the JSON Schema of pipeline files or of connections.yaml, for editors."""

import json
from typing import Literal

import click

from planasonix_orchestrator.graph.schema import config_schema, connections_schema, pipeline_schema
from planasonix_orchestrator.nodes.catalog import NodeCatalog, load_catalog


@click.command("schema")
@click.argument("document", type=click.Choice(["pipeline", "connections"]), default="pipeline")
def schema_command(document: Literal["pipeline", "connections"]) -> None:
    """Print the JSON Schema of pipeline files, or of connections.yaml.

    It knows every node type that is installed here. Editors that speak JSON Schema complete and check with it.
    """
    click.echo(print_schema(document, catalog=load_catalog()), nl=False)


def print_schema(document: Literal["pipeline", "connections"], *, catalog: NodeCatalog) -> str:
    """Return the text of a schema as `docs/` has it."""
    if document == "connections":
        schema = connections_schema()
    else:
        schema = pipeline_schema(
            {
                name: config_schema(node_type.config_model)
                for node_type in catalog
                for name in (node_type.type_name, *node_type.aliases)
            }
        )
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
