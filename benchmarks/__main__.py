"""The command behind `make bench`: measure all cases, or those named."""

import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from benchmarks.cases import CASES
from benchmarks.frame import Case, Outcome, Site, UnknownCaseError, measure
from benchmarks.report import print_table, write_latest

FOLDER = Path(__file__).resolve().parent


@click.command()
@click.argument("names", metavar="[CASE]...", nargs=-1)
@click.option("--rounds", type=click.IntRange(min=1), help="Rounds that count, instead of each case's own number.")
@click.option("--list", "only_list", is_flag=True, help="List the cases and measure nothing.")
def main(names: tuple[str, ...], *, rounds: int | None, only_list: bool) -> None:
    """Measure the cases in turn, print a table, and write benchmarks/results/latest.json."""
    console = Console() if sys.stdout.isatty() else Console(width=200)
    try:
        cases = [CASES.get(name) for name in names] or list(CASES)
    except UnknownCaseError as error:
        raise click.UsageError(str(error)) from error
    if only_list:
        for case in cases:
            console.print(f"{case.name}: {case.title}", highlight=False)
        return
    outcomes: list[Outcome] = []
    signal.signal(signal.SIGTERM, _stop)
    try:
        failed = _measure_all(cases, rounds=rounds, console=console, outcomes=outcomes)
    finally:  # what was measured before somebody stopped it took long enough
        print_table(outcomes, console=console)
        write_latest(outcomes, path=FOLDER / "results" / "latest.json", taken_at=datetime.now(UTC))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _measure_all(
    cases: Iterable[Case], *, rounds: int | None, console: Console, outcomes: list[Outcome]
) -> Sequence[str]:
    """Add the outcomes of the cases, and return the names of those whose check failed."""
    failed = []
    with ExitStack() as opened:
        site = Site(FOLDER / "data", opened)
        for case in cases:
            console.print(f"{case.name}: {case.title}", style="dim", highlight=False)
            try:
                outcomes.append(measure(case, site=site, rounds=rounds))
            except AssertionError as error:  # a wrong answer is not measured, and no reason to lose the other cases
                console.print(f"{case.name} failed: {error}", style="red", highlight=False, markup=False)
                failed.append(case.name)
    return failed


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that the services of the cases are stopped


if __name__ == "__main__":
    main()
