"""The wheel: what it carries, and that it works away from the checkout."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

pytestmark = pytest.mark.stack  # they work for seconds

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which only the wheel is installed; the environment's packages serve its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


def run(*arguments: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run Python and return its output; the test fails with its errors if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_carries_both_packages_and_nothing_else(wheel: Path) -> None:
    """At the top of the wheel are the two packages and the metadata."""
    tops = {name.partition("/")[0] for name in ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"planasonix_orchestrator", "api_adapter"}


@pytest.mark.parametrize("template", ["dagster.yaml", "workspace.yaml"])
def test_the_wheel_carries_the_templates(wheel: Path, template: str) -> None:
    """The Dagster templates are package data, and equal to the files at the top of the checkout."""
    packed = ZipFile(wheel).read(f"planasonix_orchestrator/runtime/templates/{template}").decode()
    assert packed == (REPOSITORY / template).read_text(encoding="utf-8")


def test_the_wheel_carries_every_module(wheel: Path) -> None:
    """No Python file of the packages is left out."""
    names = set(ZipFile(wheel).namelist())
    modules = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("planasonix_orchestrator", "api_adapter")
        for path in (REPOSITORY / package).rglob("*.py")
    }
    assert modules <= names


def test_an_installed_wheel_is_the_one_that_is_used(installed: Path, tmp_path: Path) -> None:
    """Away from the checkout, both packages come from the installed wheel, and its entry points are found."""
    code = (
        "import planasonix_orchestrator, api_adapter\n"
        "from importlib.metadata import distribution\n"
        "print(planasonix_orchestrator.__file__, api_adapter.__file__)\n"
        "print(*(point.value for point in distribution('planasonix').entry_points))"
    )
    files, points = run("-P", "-c", code, cwd=tmp_path, environment={"PYTHONPATH": str(installed)}).splitlines()
    assert all(Path(file).is_relative_to(installed) for file in files.split())
    assert "planasonix_orchestrator.cli:main" in points
    assert "api_adapter.commands.keys:keys_command" in points


def test_the_installed_console_script_validates_a_pipeline(installed: Path, tmp_path: Path) -> None:
    """`planasonix` of the installed wheel works in an empty folder, with the files that it reads from the package."""
    (tmp_path / "copy.yaml").write_text(
        "id: pl_copy\nname: copy\nnodes:\n  - {id: n_in, type: source.csv, config: {path: in.csv}}\n", encoding="utf-8"
    )
    script = installed / "bin" / "planasonix"
    environment = {"PYTHONPATH": str(installed)}
    assert "source.csv" in run("-P", str(script), "nodes", cwd=tmp_path, environment=environment)
    run("-P", str(script), "validate", "copy.yaml", cwd=tmp_path, environment=environment)


def test_the_installed_wheel_makes_its_tables(installed: Path, tmp_path: Path, postgres_url: str) -> None:
    """The migrations are in the wheel: a key can be made in an empty database."""
    script = installed / "bin" / "planasonix"
    environment = {"PYTHONPATH": str(installed), "PLANASONIX_POSTGRES_URL": postgres_url}
    command = ("-P", str(script), "keys", "create", "x", "--scope", "pipelines:read")
    assert run(*command, cwd=tmp_path, environment=environment).startswith("plnx_live_")
