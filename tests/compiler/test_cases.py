"""Golden cases: each `cases/*.yaml` with the plan, or the problems, that it must give in the `.txt` beside it."""

import shutil
from pathlib import Path

import pytest

from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.compiler.explain import explain_text
from planasonix_orchestrator.graph.loading import load_folder
from tests.compiler.folders import CONNECTIONS
from tests.compiler.nodes import CATALOG

CASES = sorted(Path(__file__).parent.glob("cases/*.yaml"))


def compiled_text(case: Path, folder: Path) -> str:
    """Return what the compiler says of a case, without the name of the folder."""
    (folder / "connections.yaml").write_text(CONNECTIONS)
    shutil.copy(case, folder)
    compiled = compile_folder(load_folder(folder), catalog=CATALOG)
    text = "".join(explain_text(plan) for plan in compiled.plans) + "".join(f"{each}\n" for each in compiled.problems)
    return text.replace(f"{folder}/", "")


@pytest.mark.parametrize("case", CASES, ids=[case.stem for case in CASES])
def test_case(case: Path, tmp_path: Path) -> None:
    """A document gives exactly the plan or the problems that stand beside it."""
    assert compiled_text(case, tmp_path) == case.with_suffix(".txt").read_text()
