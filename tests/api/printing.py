"""Runs that print, in processes of their own, since what Dagster captures is the output of whole processes.

    python -m tests.api.printing JOB LINES

Executes a job on the instance of DAGSTER_HOME and prints the run's id as the last line.
"""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

LINES = "PRINTED_LINES"


@dg.op(out=dg.Out(dg.Nothing))
def first() -> None:
    for number in range(int(os.environ.get(LINES, "3"))):
        print(f"first says {number}")  # noqa: T201
    sys.stderr.write("first complains: ü\n")


@dg.op(ins={"start": dg.In(dg.Nothing)})
def second() -> None:
    print("second says hello")  # noqa: T201


@dg.job(executor_def=dg.in_process_executor)
def in_one_process() -> None:
    second(first())


@dg.job(executor_def=dg.multiprocess_executor)
def in_many_processes() -> None:
    second(first())


JOBS = {"in_one_process": in_one_process, "in_many_processes": in_many_processes}


def print_in_run(home: Path, *, job: str, lines: int = 3, environment: dict[str, str] | None = None) -> str:
    """Run a job in a process of its own and return its Dagster run id."""
    command = [sys.executable, "-m", "tests.api.printing", job]
    settings = {**os.environ, "DAGSTER_HOME": str(home), LINES: str(lines), **(environment or {})}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=settings, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


def main() -> None:
    job = dg.reconstructable(JOBS[sys.argv[1]])
    with dg.DagsterInstance.get() as instance, dg.execute_job(job, instance=instance) as result:
        assert result.success
        print(result.run_id)  # noqa: T201


if __name__ == "__main__":
    main()
