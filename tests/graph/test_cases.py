"""Golden cases: each document in `cases/` has its problems in the `.txt` of the same name; none, if it is empty."""

from pathlib import Path

import pytest

from planasonix_orchestrator.graph.loading import find_files, load_files

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("file", find_files(CASES), ids=lambda file: file.name)
def test_a_document_has_the_problems_of_its_case(file: Path) -> None:
    """All problems are told at once, each with place, path, code and hint; a right document has none and loads."""
    loaded = load_files([file], beside=None)
    told = "".join(f"{str(problem).removeprefix(f'{file.parent}/')}\n" for problem in loaded.problems)
    expected = file.with_name(f"{file.name}.txt")
    assert expected.exists(), f"write {expected.name}:\n{told}"
    assert told == expected.read_text(encoding="utf-8")
    assert len(loaded.pipelines) == (1 if not told else 0)
