"""What the cases of run control measure with: their pipelines, and what processes cost."""

import subprocess
import sys
from pathlib import Path

import psutil

from benchmarks.cases.run_starts import p95
from benchmarks.control.documents import CHAINS, IN_PROCESS, write_many, write_pipelines
from benchmarks.control.processes import are_gone, cpu_seconds, megabytes, tree
from planasonix_orchestrator.compiler.compile import compile_folder
from planasonix_orchestrator.graph.loading import load_folder
from planasonix_orchestrator.nodes.catalog import load_catalog

_BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
_WAITING = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {_BURN!r}])
print("done", flush=True)
sys.stdin.read()
"""


def test_all_pipelines_compile_for_each_executor(tmp_path: Path) -> None:
    """Each name is there once per executor; only the node type of the tests' plugin is unknown here."""
    write_pipelines(tmp_path, executors={"": "multiprocess", IN_PROCESS: "in_process"})
    compiled = compile_folder(load_folder(tmp_path), catalog=load_catalog())
    assert all("source.work" in problem.message for problem in compiled.problems), compiled.problems
    names = {plan.name for plan in compiled.plans}
    assert {f"{name}{ending}" for name in ("three", "query", "copy") for ending in ("", IN_PROCESS)} <= names
    assert {plan.name: len(plan.steps) for plan in compiled.plans if plan.name in {f"chain_{n}" for n in CHAINS}} == {
        f"chain_{number}": number for number in CHAINS
    }


def test_many_pipelines_are_as_many(tmp_path: Path) -> None:
    """All of them load."""
    write_many(tmp_path, number=7)
    assert len(compile_folder(load_folder(tmp_path), catalog=load_catalog()).plans) == 7


def test_cpu_time_of_processes_that_are_gone_counts() -> None:
    """A child that has worked and ended is in the sum of its parent, and so is one that still lives."""
    with subprocess.Popen([sys.executable, "-c", _WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        processes = tree(psutil.Process(process.pid))
        assert [each.pid for each in processes] == [process.pid]
        assert cpu_seconds(processes) > 0.3
        assert megabytes(processes) > 1
        assert tree(psutil.Process())[1:], "a child is part of the tree"
        process.communicate()


def test_a_process_that_only_waits_to_be_reaped_is_gone() -> None:
    """One that sleeps works; a zombie, or one that has been reaped, does not."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        watched = psutil.Process(process.pid)
        assert not are_gone([watched])
        process.kill()
        watched.wait(10)
        assert are_gone([watched])


def test_p95_is_the_value_that_95_of_100_do_not_exceed() -> None:
    """Of twenty it is the second highest, of few the highest."""
    assert p95([float(number) for number in range(1, 21)]) == 19.0
    assert p95([3.0, 1.0, 2.0]) == 3.0
