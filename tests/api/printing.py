"""Runs that print, in processes of their own, since what Dagster captures is the output of whole processes.

    python -m tests.api.printing JOB ...

Executes jobs on the instance of DAGSTER_HOME and prints the ids of their runs as the last lines.
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


# Forked of one that has loaded Dagster already, which takes each process seconds.
@dg.job(executor_def=dg.multiprocess_executor.configured({"start_method": {"forkserver": {}}}))
def in_many_processes() -> None:
    second(first())


JOBS = {"in_one_process": in_one_process, "in_many_processes": in_many_processes}


def print_in_runs(home: Path, *jobs: str, lines: int = 3) -> list[str]:
    """Run jobs, one after the other, in a process of their own and return their Dagster run ids."""
    command = [sys.executable, "-m", "tests.api.printing", *jobs]
    settings = {**os.environ, "DAGSTER_HOME": str(home), LINES: str(lines)}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=settings, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-len(jobs) :]


def main() -> None:
    run_ids = []
    with dg.DagsterInstance.get() as instance:
        for name in sys.argv[1:]:
            with dg.execute_job(dg.reconstructable(JOBS[name]), instance=instance) as result:
                assert result.success
                run_ids.append(result.run_id)
    print(*run_ids)  # noqa: T201


if __name__ == "__main__":
    main()
