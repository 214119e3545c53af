"""`planasonix nodes`: the node types that are installed, built in and third-party, and how each is configured."""

import json
import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from planasonix_orchestrator.nodes.catalog import load_catalog
from planasonix_orchestrator.nodes.reference import NodeReference, describe, markdown, section


@click.command("nodes")
@click.argument("node_type", metavar="[TYPE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, or one JSON object for a TYPE.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown: docs/nodes.md.")
def nodes_command(node_type: str | None, *, as_json: bool, as_markdown: bool) -> None:
    """List the node types, or show one: its ports, config and an example.

    TYPE is a full name (transform.filter) or a short id (filter). Exit code 1 if there is no such type.
    """
    if as_json and as_markdown:
        raise click.UsageError("choose either --json or --markdown")
    catalog = load_catalog()
    types = [catalog.get(node_type)] if node_type else list(catalog)
    references = [describe(each) for each in types]
    if as_json:
        shown = references[0].as_json() if node_type else [reference.as_json() for reference in references]
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
    elif as_markdown:
        click.echo(section(references[0]) if node_type else markdown(types), nl=False)
    elif node_type:
        _show(section(references[0]))
    else:
        _list(references)


def _show(text: str) -> None:
    if sys.stdout.isatty():
        Console().print(Markdown(text))
    else:
        click.echo(text, nl=False)


def _list(references: Sequence[NodeReference]) -> None:
    if not sys.stdout.isatty():
        for reference in references:
            click.echo("\t".join((reference.type, ",".join(reference.aliases), reference.summary)))
        return
    table = Table("Type", "Short", "What it does", box=None, header_style="bold")
    for reference in references:
        table.add_row(reference.type, ", ".join(reference.aliases), reference.summary)
    Console().print(table)
