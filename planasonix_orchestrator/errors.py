"""The orchestrator's errors: classes that carry data and compose their own message."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

FaultCode = Literal["node_error", "timeout", "out_of_memory", "policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a document: where it stands, what it is, and what to do about it.

    `path` is a JSON path such as ``$.nodes[2].config.table``; `line` and `column` count from 1.
    `code` is a stable word for machines (``unknown_type``), `message` and `hint` are for people.
    """

    code: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str = "$"
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place + ': ' if place else ''}{self.path}: {self.message} [{self.code}]{hint}"

    def as_json(self) -> dict[str, str | int | None]:
        """Return the problem as a JSON object with all seven keys."""
        return asdict(self)


class PlanasonixError(Exception):
    """Base of every error that the orchestrator raises for its callers."""


class InvalidDocumentError(PlanasonixError):
    """One or more documents have problems; all of them are in `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NodeError(PlanasonixError):
    """A node can't do its work: `message` says why in the user's words, `hint` what to do next.

    `code` is the kind of failure, for machines.
    """

    code: FaultCode = "node_error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)


class NodeInterruptedError(NodeError):
    """A node's work was stopped from outside, by a cancel or a timeout; nothing is wrong with the node."""

    def __init__(self) -> None:
        super().__init__("the work was stopped before it was done")


class NodeOutOfMemoryError(NodeError):
    """A node needs more memory than its run may use, or than there is; `detail` says what was asked for."""

    code = "out_of_memory"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"out of memory: {detail}" if detail else "out of memory",
            hint="raise memoryLimit of the run or PLANASONIX_MEMORY_LIMIT, or give the node less to do",
        )


class TerminalNodeError(NodeError):
    """A node error that every further attempt would meet again, so retries are no use."""


class NodePolicyError(TerminalNodeError):
    """A node refuses by a rule that it was given, such as a check of the data; it did its work, and nothing broke."""

    code = "policy"


class UpstreamNodeError(NodeError):
    """A node failed because of another one, `node_id`, whose rows it computes; `fault` is that node's own error."""

    def __init__(self, node_id: str, *, fault: NodeError) -> None:
        self.node_id = node_id
        self.fault = fault
        self.code = fault.code
        super().__init__(f"node {node_id!r}: {fault}")


class NodeConfigError(TerminalNodeError):
    """A node's config is wrong once its variables are in place; `faults` name the fields."""

    def __init__(self, node_id: str, faults: Sequence[str]) -> None:
        self.node_id = node_id
        self.faults = tuple(faults)
        super().__init__(f"config of node {node_id!r}: {'; '.join(faults)}")


class UnknownConnectionError(TerminalNodeError):
    """A connection id that connections.yaml does not have."""

    def __init__(self, connection_id: str, *, known: Sequence[str]) -> None:
        super().__init__(
            f"connection {connection_id!r} does not exist",
            hint=f"known: {', '.join(sorted(known)) or 'none'}",
        )


class MissingSecretError(TerminalNodeError):
    """A secret whose environment variable is not set; the value itself is never part of an error."""

    def __init__(self, connection_id: str, field: str, variable: str) -> None:
        super().__init__(
            f"connection {connection_id!r}: {field} is read from the environment variable {variable}, which is not set",
            hint=f"set {variable} for the code server and the runs",
        )


class MissingExtraError(TerminalNodeError):
    """An optional package that a connector needs is not installed."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f"{what} needs an optional package", hint=f"pip install 'planasonix[{extra}]'")
