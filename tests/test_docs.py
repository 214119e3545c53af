"""Docs that can't fall behind: what they name exists, and what exists is named."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from planasonix_orchestrator.cli import main

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
TOP_PAGES = [REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "examples/README.md")]
PAGES = sorted([*TOP_PAGES, *(REPOSITORY / "docs").rglob("*.md")])


def make_targets() -> set[str]:
    """The targets that `make help` lists."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):.*## ", makefile, flags=re.MULTILINE))


def commands() -> list[str]:
    """The subcommands that `planasonix --help` lists."""
    return main.list_commands(main.make_context("planasonix", [], resilient_parsing=True))


def test_make_commands_in_the_readme_exist() -> None:
    """Every `make target` in the README is a target of the Makefile."""
    assert set(re.findall(r"\bmake ([a-z]+)\b", README)) <= make_targets()


@pytest.mark.parametrize("target", ["demo", "up", "test", "check", "bench"])
def test_the_main_targets_are_in_the_readme(target: str) -> None:
    """The README names the targets that a newcomer needs."""
    assert f"make {target}" in README


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    """Every `planasonix` subcommand appears in the README or in docs, and has help of its own."""
    assert any(f"planasonix {command}" in page.read_text(encoding="utf-8") for page in PAGES)
    answer = CliRunner().invoke(main, [command, "--help"])
    assert answer.exit_code == 0
    assert "Usage:" in answer.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Every relative link in a page leads to a file in the repository."""
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_decision_is_listed() -> None:
    """The index of decisions names every decision."""
    index = (REPOSITORY / "docs/decisions/README.md").read_text(encoding="utf-8")
    pages = {path.name for path in (REPOSITORY / "docs/decisions").glob("[0-9]*.md")}
    assert {name for name in pages if f"({name})" not in index} == set()


def test_no_page_is_an_island() -> None:
    """Every page of docs is reached by links from the README."""
    reached: set[Path] = set()
    waiting = [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / link).resolve() for link in links]
    assert {path for path in PAGES if path not in reached} == set()
