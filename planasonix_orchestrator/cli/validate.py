"""`planasonix validate`: every problem of pipeline documents at once, with its place and what to do about it."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.beside import BESIDE_PIPELINES
from planasonix_orchestrator.graph.loading import LoadedFolder, find_files, load_files, load_folder
from planasonix_orchestrator.nodes.catalog import load_catalog
from planasonix_orchestrator.settings import load_settings


@click.command("validate")
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--pipelines",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of pipelines, with its connections.yaml. Default: PLANASONIX_PIPELINES, else ./pipelines.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def validate_command(context: click.Context, files: tuple[Path, ...], pipelines: Path | None, *, as_json: bool) -> None:
    """Check pipeline documents: FILES (or folders of them), else all of the pipelines folder.

    Exit code 0 if nothing is wrong, 1 if something is.
    """
    compiled = compile_folder(load_documents(files, pipelines=pipelines), catalog=load_catalog())
    problems = sorted(compiled.problems, key=_place)
    if as_json:
        document = {
            "valid": not problems,
            "pipelines": len(compiled.plans),
            "problems": [p.as_json() for p in problems],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        print_problems(problems, console=Console(highlight=False))
    else:
        for problem in problems:
            click.echo(str(problem))
    if not as_json:
        click.echo(_summary(problems, pipelines=len(compiled.plans)), err=not sys.stdout.isatty())
    context.exit(1 if problems else 0)


def load_documents(files: Sequence[Path], *, pipelines: Path | None) -> LoadedFolder:
    """Load files, or folders of them, with what stands beside them; without any the pipelines folder.

    That is connections and environments, those nearest to the first file.
    """
    if not files:
        return load_folder(pipelines or load_settings().pipelines)
    found = [file for given in files for file in (find_files(given) if given.is_dir() else (given,))]
    found = [file for file in found if file.name not in BESIDE_PIPELINES]
    return load_files(found, beside=_beside(files[0], pipelines or load_settings().pipelines))


def _beside(first: Path, pipelines: Path) -> Path | None:
    """Return the nearest folder above a file that has connections or environments, else the pipelines folder."""
    above = [first, *first.absolute().parents] if first.is_dir() else first.absolute().parents
    candidates = (*above, pipelines)
    return next((folder for folder in candidates if any((folder / name).is_file() for name in BESIDE_PIPELINES)), None)


def _place(problem: Problem) -> tuple[str, int, int, str]:
    return (problem.file or "", problem.line or 0, problem.column or 0, problem.path)


def _summary(problems: Sequence[Problem], *, pipelines: int) -> str:
    valid = f"{_counted(pipelines, 'pipeline')} valid"
    if not problems:
        return f"{valid}, no problems"
    files = {problem.file for problem in problems}
    return f"{_counted(len(problems), 'problem')} in {_counted(len(files), 'file')}; {valid}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def print_problems(problems: Sequence[Problem], *, console: Console) -> None:
    """Print problems, which are sorted by file, with the lines they stand in; never a line that shows a secret."""
    for file, group in groupby(problems, key=lambda problem: problem.file):
        of_file = tuple(group)
        secret = {problem.line for problem in of_file if problem.code == "plain_secret"}
        lines = {number: line for number, line in enumerate(_lines(file), start=1) if number not in secret}
        console.print(Text(file or "", style="bold underline"))
        for problem in of_file:
            for text in _problem_texts(problem, lines=lines, width=console.width):
                console.print(text)
        console.print()


def _problem_texts(problem: Problem, *, lines: Mapping[int, str], width: int) -> Iterator[Text]:
    place = f"{problem.line}:{problem.column}" if problem.line else "-"
    yield Text.assemble(
        (f"  {place:>7}  ", "cyan"), (problem.message, "bold red"), f"  {problem.path}  ", (f"[{problem.code}]", "dim")
    )
    line = lines.get(problem.line or 0)
    if line is not None and problem.column:
        yield from _excerpt(line, column=problem.column, width=width - 13)
    if problem.hint:
        yield Text.assemble(" " * 11, (f"hint: {problem.hint}", "green"))


def _excerpt(line: str, *, column: int, width: int) -> Iterator[Text]:
    """Yield the part of a line around a column, and a caret under it."""
    start = max(0, column - 1 - width // 2) if len(line) > width else 0
    shown = line[start : start + width].replace("\t", " ")
    yield Text.assemble(" " * 11, (shown, "dim"))
    yield Text.assemble(" " * (11 + column - 1 - start), ("^", "red"))


def _lines(file: str | None) -> list[str]:
    try:
        return Path(file or "").read_bytes().decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError):
        return []
