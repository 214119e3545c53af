"""`planasonix plan`: what a pipeline will do, in which order, and where its rows are kept."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from planasonix_orchestrator.cli.validate import load_documents
from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.compiler.explain import Entry, explain, explain_text, outline
from planasonix_orchestrator.compiler.plan import PipelinePlan
from planasonix_orchestrator.errors import InvalidDocumentError, PlanasonixError
from planasonix_orchestrator.graph.loading import LoadedFolder
from planasonix_orchestrator.graph.validation import nearest
from planasonix_orchestrator.nodes.catalog import load_catalog

_STYLES = ("bold", "bold cyan", "default", "dim")  # by depth


class UnknownPipelineError(PlanasonixError):
    """No pipeline of the folder has this id, name or file."""

    def __init__(self, pipeline: str, *, known: Sequence[str]) -> None:
        self.pipeline = pipeline
        hint = nearest(pipeline, known) or "the folder of pipelines is empty"
        super().__init__(f"unknown pipeline {pipeline!r} ({hint})")


@click.command("plan")
@click.argument("pipeline")
@click.option(
    "--pipelines",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of pipelines, with its connections.yaml. Default: PLANASONIX_PIPELINES, else ./pipelines.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan_command(pipeline: str, pipelines: Path | None, *, as_json: bool) -> None:
    """Explain the plan of PIPELINE, an id, a name or a file.

    It tells the order of the steps, where the graph branches, which steps are pushed together into one query, and
    where rows are kept and why. Exit code 1 if the pipeline is unknown or has problems.
    """
    plan = find_plan(pipeline, pipelines=pipelines)
    if as_json:
        click.echo(json.dumps(explain(plan), indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        Console(highlight=False).print(plan_tree(outline(plan)))
    else:
        click.echo(explain_text(plan), nl=False)


def find_plan(pipeline: str, *, pipelines: Path | None) -> PipelinePlan:
    """Return the plan of a pipeline by id, name or file.

    Raises `UnknownPipelineError` with the nearest known one, `InvalidDocumentError` with the pipeline's problems.
    """
    file = Path(pipeline)
    is_file = file.is_file()
    folder = load_documents([file] if is_file else [], pipelines=pipelines)
    compiled = compile_folder(folder, catalog=load_catalog())
    if not is_file:
        file = _find_file(folder, pipeline)
    for plan in compiled.plans:
        if plan.file == str(file):
            return plan
    problems = [problem for problem in compiled.problems if problem.file == str(file)]
    raise InvalidDocumentError(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))


def _find_file(folder: LoadedFolder, pipeline: str) -> Path:
    """Return the file of a pipeline by id or name, among the faulty ones too."""
    files: dict[str, Path] = {}
    for loaded in (*folder.faulty, *folder.pipelines):
        if loaded.file:
            files |= {loaded.document.id: loaded.file, loaded.document.name: loaded.file}
    try:
        return files[pipeline]
    except KeyError as error:
        raise UnknownPipelineError(pipeline, known=tuple(files)) from error


def plan_tree(entry: Entry, *, depth: int = 0) -> Tree:
    """Return an outline as the tree that terminals show."""
    tree = Tree(Text(entry.text, style=_STYLES[min(depth, len(_STYLES) - 1)]), guide_style="dim")
    tree.children.extend(plan_tree(child, depth=depth + 1) for child in entry.children)
    return tree
