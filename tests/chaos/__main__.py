"""``python -m tests.chaos --seconds 600 --seed N``: play chaos; exit code 1 if a promise was broken."""

import argparse
import json
import secrets
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.clock import Clock, NoClockError, make_clock
from tests.chaos.history import History
from tests.chaos.play import play


def main() -> None:
    """Play and report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, help="replays the faults of an earlier play; without it, a new one")
    parser.add_argument(
        "--clock",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether to set the clock of the stack, too, where that can be done; belongs to the seed",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1_000_000)
    told = sys.stderr if arguments.json else sys.stdout

    def say(line: str) -> None:
        print(line, file=told, flush=True)

    with tempfile.TemporaryDirectory(prefix="planasonix-clock-") as folder:
        clock = _clock(Path(folder), say=say) if arguments.clock else None
        say(f"seed {seed}{'' if clock else ' --no-clock'}")
        history = play(seed=seed, seconds=arguments.seconds, clock=clock, say=say)
    figures = report(history, seed=seed)
    print(json.dumps(figures, indent=2) if arguments.json else _as_text(figures))  # noqa: T201
    if history.violations:
        print("\n".join(["", "The timeline:", *history.timeline]), file=told)
        sys.exit(1)


def _clock(folder: Path, *, say: Callable[[str], None]) -> Clock | None:
    folder.chmod(0o711)  # Postgres has a user of its own
    try:
        return make_clock(folder)
    except NoClockError as error:
        say(f"The clock of the stack is left alone: {error}.")
        return None


def report(history: History, *, seed: int) -> dict[str, Any]:
    """Return the figures of a play."""
    settled = history.settled_after or [0.0]
    return {
        "seed": seed,
        "bursts": len(history.settled_after),
        "faults": sum(history.faults.values()),
        "faultsByKind": dict(history.faults.most_common()),
        "runs": dict(Counter(run.status for run in history.all_runs())),
        "cancellationsAccepted": sum(run.cancel_stands for run in history.all_runs()),
        "answers": dict(history.answers.most_common()),
        "secondsToSettle": {"median": round(statistics.median(settled), 1), "most": round(max(settled), 1)},
        "violations": history.violations,
    }


def _as_text(figures: dict[str, Any]) -> str:
    lines = [f"{name}: {value}" for name, value in figures.items() if name != "violations"]
    violations = figures["violations"]
    return "\n".join([*lines, f"violations: {len(violations)}", *(f"  {each}" for each in violations)])


if __name__ == "__main__":
    main()
