"""Leads every edge to a port of the node at its end, and checks what arrives there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from planasonix_orchestrator.compiler.draft import Draft, DraftStep
from planasonix_orchestrator.compiler.plan import StepInput
from planasonix_orchestrator.errors import Problem
from planasonix_orchestrator.graph.document import EdgeDocument
from planasonix_orchestrator.graph.validation import nearest
from planasonix_orchestrator.nodes.base import InputPort

_DEFAULT_OUTPUT = "output"
_Arrivals = Sequence[tuple[int, EdgeDocument]]  # edges with their index in the document


def assign_ports(draft: Draft) -> Draft:
    """Give every step its inputs: edges that name a port go there, the others in order to the ports left free.

    At a node type with a `many` port, a target port that is none of its own is a name for that input. Codes:
    `unknown_port`, `too_many_inputs`, `missing_input`, `no_output`.
    """
    by_id = {step.node.id: step for step in draft.steps}
    arrivals: dict[str, list[tuple[int, EdgeDocument]]] = {node_id: [] for node_id in by_id}
    problems: list[Problem] = []
    for place, edge in enumerate(draft.document.edges):
        if edge.source in by_id:
            problems += _output_problems(draft, by_id[edge.source], place=place, edge=edge)
        if edge.target in by_id:
            arrivals[edge.target].append((place, edge))
    steps = []
    for step in draft.steps:
        led = _lead(step.node_type.inputs, arrivals[step.node.id])
        problems += _input_problems(draft, step, arrivals[step.node.id], led)
        steps.append(replace(step, inputs=tuple(_inputs(step, arrivals[step.node.id], led, by_id))))
    return draft.having(steps=steps, problems=problems)


def _lead(ports: Sequence[InputPort], arrivals: _Arrivals) -> dict[int, InputPort]:
    """Return the port of each edge by the edge's index, without the edges that find none."""
    many = next((port for port in ports if port.many), None)
    free = {port.name: port for port in ports if not port.many}
    names = {port.name for port in ports if port.many}
    led: dict[int, InputPort] = {}
    for place, edge in sorted(arrivals, key=lambda arrival: arrival[1].target_port is None):
        name = edge.target_port if edge.target_port is not None else next(iter(free), None)
        if name in free:
            led[place] = free.pop(name)
        elif many is not None and (name in names or name not in {port.name for port in ports}):
            led[place] = many
    return led


def _inputs(
    step: DraftStep, arrivals: _Arrivals, led: Mapping[int, InputPort], by_id: Mapping[str, DraftStep]
) -> Iterator[StepInput]:
    names = {port.name for port in step.node_type.inputs}
    for port in step.node_type.inputs:
        for place, edge in arrivals:
            if led.get(place) is not port:
                continue
            outputs = by_id[edge.source].node_type.outputs if edge.source in by_id else ()
            is_named = edge.target_port is not None and edge.target_port not in names
            yield StepInput(
                port=port.name,
                node_id=edge.source,
                output=edge.source_port or next(iter(outputs), _DEFAULT_OUTPUT),
                name=edge.target_port if is_named and edge.target_port else edge.source,
            )


def _input_problems(
    draft: Draft, step: DraftStep, arrivals: _Arrivals, led: Mapping[int, InputPort]
) -> Iterator[Problem]:
    ports = {port.name: port for port in step.node_type.inputs}
    astray = [(place, edge) for place, edge in arrivals if place not in led]
    for place, edge in astray:
        if edge.target_port is not None and ports and edge.target_port not in ports:
            yield draft.loaded.problem(
                code="unknown_port",
                message=f"{step.label} has no input port {edge.target_port!r}",
                path=("edges", place, "targetPort"),
                hint=nearest(edge.target_port, ports),
            )
        else:
            yield draft.loaded.problem(
                code="too_many_inputs",
                message=f"{step.label} takes {_ports(ports)}; the edge from {edge.source!r} is too many",
                path=("edges", place),
                hint="put a transform.union or transform.join before it" if ports else "turn the edge around",
            )
    missing = [name for name, port in ports.items() if port.required and port not in led.values()]
    if len(missing) > len(astray):  # an edge that went astray was meant for a port that is missing one
        yield draft.loaded.problem(
            code="missing_input",
            message=f"{step.label} takes {_ports(ports)}; no edge leads to {' and '.join(map(repr, missing))}",
            path=("nodes", step.place),
            hint=f"add an edge with target: {step.node.id}",
        )


def _output_problems(draft: Draft, step: DraftStep, *, place: int, edge: EdgeDocument) -> Iterator[Problem]:
    outputs = step.node_type.outputs
    if not outputs:
        yield draft.loaded.problem(
            code="no_output",
            message=f"{step.label} has no output; no edge can start at it",
            path=("edges", place, "source"),
            hint="start the edge at the node before it",
        )
    elif edge.source_port is not None and edge.source_port not in outputs:
        yield draft.loaded.problem(
            code="unknown_port",
            message=f"{step.label} has no output port {edge.source_port!r}",
            path=("edges", place, "sourcePort"),
            hint=nearest(edge.source_port, outputs),
        )


def _ports(ports: Mapping[str, InputPort]) -> str:
    if not ports:
        return "no input"
    if any(port.many for port in ports.values()):
        return "one input or more"
    return f"{len(ports)} inputs ({', '.join(ports)})" if len(ports) > 1 else "one input"
