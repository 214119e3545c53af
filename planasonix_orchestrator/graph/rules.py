"""Rules that hold for any pipeline, whatever its node types: each a function from a document to its faults."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jmespath
from cronsim import CronSim, CronSimError
from jmespath.exceptions import JMESPathError
from pydantic.alias_generators import to_camel

from planasonix_orchestrator.contract.slices import SLICE_VARIABLES, fill_slice, slice_at
from planasonix_orchestrator.contract.values import VariableValueError, parse_value
from planasonix_orchestrator.graph.document import PipelineDocument
from planasonix_orchestrator.graph.source import DocumentPath, Fault
from planasonix_orchestrator.graph.topology import find_cycles, print_cycle
from planasonix_orchestrator.graph.triggers import UpstreamTrigger, WebhookConfig, WebhookTrigger
from planasonix_orchestrator.graph.validation import nearest
from planasonix_orchestrator.graph.variables import TemplateError, variables_in


def check_document(document: PipelineDocument) -> tuple[Fault, ...]:
    """Return all faults of a document, in the order of the rules."""
    return tuple(fault for rule in RULES for fault in rule(document))


def check_ids(document: PipelineDocument) -> Iterator[Fault]:
    """Check that ids are unique: those of nodes, of edges, of schedules and of triggers."""
    for kind in ("node", "edge", "schedule", "trigger"):
        seen: set[str] = set()
        for index, part in enumerate(getattr(document, f"{kind}s")):
            if part.id is None:
                continue
            if part.id in seen:
                yield Fault(
                    code=f"duplicate_{kind}_id",
                    message=f"two {kind}s have the id {part.id!r}",
                    path=(f"{kind}s", index, "id"),
                    hint="give one of them another id",
                )
            seen.add(part.id)


def check_edges(document: PipelineDocument) -> Iterator[Fault]:
    """Check that edges join nodes that exist, and that no two say the same."""
    nodes = {node.id for node in document.nodes}
    edges = Counter((edge.source, edge.source_port, edge.target, edge.target_port) for edge in document.edges)
    for index, edge in enumerate(document.edges):
        for end, node_id in (("source", edge.source), ("target", edge.target)):
            if node_id not in nodes:
                yield Fault(
                    code="dangling_edge",
                    message=f"the edge's {end} {node_id!r} is not a node",
                    path=("edges", index, end),
                    hint=nearest(node_id, nodes),
                )
        key = (edge.source, edge.source_port, edge.target, edge.target_port)
        if edges[key] > 1:
            edges[key] = 0  # told at the first of them
            yield Fault(
                code="duplicate_edge",
                message=f"two edges lead from {edge.source!r} to {edge.target!r} by the same ports",
                path=("edges", index),
                hint="remove one of them, or give them different target ports",
            )


def check_cycles(document: PipelineDocument) -> Iterator[Fault]:
    """Check that no node waits for itself, directly or by way of others."""
    pairs = [(edge.source, edge.target) for edge in document.edges]
    for cycle in find_cycles([node.id for node in document.nodes], pairs):
        loop = len(cycle) == 1
        closing = (cycle[-1], cycle[0])
        yield Fault(
            code="self_loop" if loop else "cycle",
            message=f"the node reads from itself: {print_cycle(cycle)}" if loop else f"cycle: {print_cycle(cycle)}",
            path=("edges", pairs.index(closing)),
            hint="remove this edge" if loop else "remove one of these edges",
        )


def check_variables(document: PipelineDocument) -> Iterator[Fault]:
    """Check that a variable's default is of its type."""
    for name, variable in document.variables.items():
        try:
            parse_value(variable.default, type_name=variable.type)
        except VariableValueError as error:
            message = f"the default of {name!r} is {variable.type}, but {error}"
            yield Fault(code="invalid_default", message=message, path=("variables", name, "default"))


def check_templates(document: PipelineDocument) -> Iterator[Fault]:
    """Check that config strings name only declared variables, in well-formed templates."""
    for index, node in enumerate(document.nodes):
        for path, text in _strings(node.config, ("nodes", index, "config")):
            yield from _template_faults(text, path, known=document.variables, beside=SLICE_VARIABLES)


def check_schedules(document: PipelineDocument) -> Iterator[Fault]:
    """Check that a schedule's cron expression and time zone exist, and the variables that it sets.

    Their texts may hold templates, of a slice's variables only.
    """
    for index, schedule in enumerate(document.schedules):
        path = ("schedules", index)
        if fault := _cron_fault(schedule.cron_expression):
            yield Fault(
                code="invalid_cron",
                message=f"{schedule.cron_expression!r} is not a cron expression: {fault}",
                path=(*path, "cronExpression"),
                hint="five fields: minute, hour, day of month, month, day of week; 0 2 * * * is every day at 02:00",
            )
        if not _is_time_zone(schedule.timezone):
            hint = "an IANA name such as UTC or Europe/Berlin"
            message = f"unknown time zone {schedule.timezone!r}"
            yield Fault(code="unknown_timezone", message=message, path=(*path, "timezone"), hint=hint)
        sound: dict[str, object] = {}
        for name, value in schedule.variables.items():
            text = value if isinstance(value, str) else ""
            place = (*path, "variables", name)
            faults = [*_template_faults(text, place, known=SLICE_VARIABLES, declarable=False)]
            yield from faults
            if not faults:
                sound[name] = fill_slice(value, values=_ANY_SLICE)
        yield from _setting_faults(sound, document, path=path)


def check_triggers(document: PipelineDocument) -> Iterator[Fault]:
    """Check the variables that a trigger sets, and that it does not wait for its own pipeline."""
    for index, trigger in enumerate(document.triggers):
        path = ("triggers", index)
        yield from _setting_faults(trigger.variables, document, path=path)
        for name, value in trigger.config:
            if name.endswith("_variable") and value is not None and value not in document.variables:
                yield _unknown_variable(value, (*path, "config", to_camel(name)), known=document.variables)
        if isinstance(trigger, WebhookTrigger):
            yield from _webhook_faults(trigger.config, document, path=(*path, "config"))
        if isinstance(trigger, UpstreamTrigger) and document.id in trigger.config.upstream_ids:
            message = "the pipeline would start itself again and again"
            hint = "name another pipeline, or use a schedule"
            yield Fault(
                code="self_trigger", message=message, path=(*path, *trigger.config.place_of(document.id)), hint=hint
            )


RULES: tuple[Callable[[PipelineDocument], Iterable[Fault]], ...] = (
    check_ids,
    check_edges,
    check_cycles,
    check_variables,
    check_templates,
    check_schedules,
    check_triggers,
)


_ANY_SLICE = slice_at(datetime(2000, 1, 1, tzinfo=UTC))
_NOT_DAGSTERS = re.compile(r"\bLW\b|\b[A-Z0-9]+L\b")  # which others take: the last weekday, the last Friday


def _strings(value: Any, path: DocumentPath) -> Iterator[tuple[DocumentPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))


def _template_faults(
    text: str, path: DocumentPath, *, known: Iterable[str], beside: Iterable[str] = (), declarable: bool = True
) -> Iterator[Fault]:
    """Yield what is wrong with the templates of a text; `beside` are names that go without saying."""
    try:
        names = variables_in(text)
    except TemplateError as error:
        yield Fault(code="malformed_template", message=str(error), path=path)
        return
    for name in names:
        if name not in known and name not in beside:
            yield _unknown_variable(name, path, known=known, declarable=declarable)


def _unknown_variable(name: str, path: DocumentPath, *, known: Iterable[str], declarable: bool = True) -> Fault:
    hint = nearest(name, known)
    if hint is None and declarable:
        hint = f"declare it: variables: {{{name}: {{type: string}}}}"
    return Fault(code="unknown_variable", message=f"unknown variable {name!r}", path=path, hint=hint)


def _webhook_faults(config: WebhookConfig, document: PipelineDocument, *, path: DocumentPath) -> Iterator[Fault]:
    for name, found_at in (config.variables or {}).items():
        place = (*path, "variables", name)
        if name not in document.variables:
            yield _unknown_variable(name, place, known=document.variables)
        yield from _path_faults(found_at, place)
    if config.event_id is not None:
        yield from _path_faults(config.event_id, (*path, "eventId"))
    receiver = document.variables.get(config.payload_variable or "")
    if receiver is not None and receiver.type != "string":
        message = f"{config.payload_variable!r} is {receiver.type}, but the body is a text"
        hint = "declare it as a string, or pick fields by `variables`"
        yield Fault(code="invalid_variable_value", message=message, path=(*path, "payloadVariable"), hint=hint)


def _path_faults(text: str, path: DocumentPath) -> Iterator[Fault]:
    try:
        jmespath.compile(text)
    except (JMESPathError, RecursionError):
        hint = "it is written in JMESPath: order.id, or items[0].sku"
        yield Fault(code="invalid_path", message=f"{text!r} leads nowhere in JSON", path=path, hint=hint)


def _setting_faults(
    settings: Mapping[str, object], document: PipelineDocument, *, path: DocumentPath
) -> Iterator[Fault]:
    for name, value in settings.items():
        place = (*path, "variables", name)
        variable = document.variables.get(name)
        if variable is None:
            yield _unknown_variable(name, place, known=document.variables)
            continue
        try:
            parse_value(value, type_name=variable.type)
        except VariableValueError as error:
            message = f"{name!r} is {variable.type}, but {error}"
            yield Fault(code="invalid_variable_value", message=message, path=place)


def _cron_fault(expression: str) -> str | None:
    if len(expression.split()) != 5:
        return f"it has {len(expression.split())} fields"
    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        return str(error).lower()
    if foreign := _NOT_DAGSTERS.search(expression.upper()):
        return f"Dagster does not know {foreign.group()}"
    return None


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a path outside the database, a folder in it
        return False
    return True
