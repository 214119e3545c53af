"""What can keep the stack from running."""

from collections.abc import Sequence
from pathlib import Path

from planasonix_orchestrator.errors import PlanasonixError


class PostgresError(PlanasonixError):
    """The embedded Postgres can't be prepared or started."""

    def __init__(self, message: str, *, data: Path, hint: str) -> None:
        super().__init__(f"Postgres on {data}: {message}\n{hint}")
        self.data = data


class AlreadyRunningError(PlanasonixError):
    """Another process runs a stack on the same state directory."""

    def __init__(self, state: Path, *, pid: int) -> None:
        super().__init__(
            f"A stack already runs on {state} (pid {pid}).\n"
            f"Stop it with Ctrl-C there or `kill {pid}`, or give this one a directory of its own with --state."
        )
        self.state = state
        self.pid = pid


class NotRunningError(PlanasonixError):
    """No stack runs on the state directory, so there is nothing to connect to."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"No stack runs on {state}.\nStart one with `planasonix up`, or name another with --state.")
        self.state = state


class MissingPipelinesError(PlanasonixError):
    """The folder of pipelines does not exist."""

    def __init__(self, pipelines: Path) -> None:
        super().__init__(f"The pipelines folder {pipelines} does not exist.\nCreate it, or name another: --pipelines.")
        self.pipelines = pipelines


class PartError(PlanasonixError):
    """A part of the stack did not start; the tail of its log says why."""

    def __init__(self, part: str, *, reason: str, log: Path | None, tail: Sequence[str]) -> None:
        lines = [f"{part} did not start: it {reason}."]
        if tail:
            lines += [f"The end of {log}:", *(f"  {line}" for line in tail)]
        lines.append("Mend the cause and start again." if tail else "Start it, or check its address, and start again.")
        super().__init__("\n".join(lines))
        self.part = part
