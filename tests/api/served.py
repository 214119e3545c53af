"""A small code location, published as the orchestrator publishes its own: what the API's tests run."""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import dagster as dg

from planasonix_orchestrator.contract import metadata
from planasonix_orchestrator.contract.names import encode_name
from planasonix_orchestrator.contract.tags import NODE_TYPE, PIPELINE_ID

Figures = Mapping[str, int | float]
FIGURES: dict[str, Figures] = {}  # by job and op


@cache
def node_op(type_name: str, *, takes_rows: bool) -> dg.OpDefinition:
    """The op that all nodes of a type share, as the orchestrator builds them."""

    @dg.op(
        name=type_name.replace(".", "_"),
        ins={"rows": dg.In(dg.Nothing)} if takes_rows else {},
        tags={NODE_TYPE: type_name},
    )
    def work(context: dg.OpExecutionContext) -> dg.Output[None]:
        act = ACTS.get(context.op.name)
        if act is not None:
            act(context)
        return dg.Output(None, metadata=dict(FIGURES.get(f"{context.job_name}.{context.op.name}", {})))

    return work


def node(node_id: str, *, type_name: str, retries: int = 0) -> Callable[..., Any]:
    """A node: the op of its type under an alias."""
    op = node_op(type_name, takes_rows=not type_name.startswith("source.")).alias(encode_name(node_id))
    return op.with_retry_policy(dg.RetryPolicy(max_retries=retries)) if retries else op


def read_rows(context: dg.OpExecutionContext) -> None:
    context.log.info("Started read")
    context.log.debug("Details of the read")


def fail_at_first(context: dg.OpExecutionContext) -> None:
    if context.retry_number == 0:
        raise ConnectionError("the warehouse hung up")


def fail(context: dg.OpExecutionContext) -> None:
    raise ValueError("column 'amount' does not exist")


def wait(context: dg.OpExecutionContext) -> None:
    for _ in range(600):
        time.sleep(0.05)


def fail_unless_retried(context: dg.OpExecutionContext) -> None:
    if context.run.parent_run_id is None:
        raise ValueError("column 'amount' does not exist")


ACTS = {
    "n_source": read_rows,
    "n_flaky": fail_at_first,
    "n_bad": fail,
    "n_wait": wait,
    "n_fragile": fail_unless_retried,
}


@dg.resource(config_schema={"day": dg.Field(str, default_value="2025-01-01"), "top": dg.Field(int, is_required=False)})
def variables(context: dg.InitResourceContext) -> Any:
    return context.resource_config


@dg.resource(config_schema={metadata.ENVIRONMENT_KEY: dg.Field(dg.Noneable(str), default_value=None)})
def pipeline(context: dg.InitResourceContext) -> Any:
    return context.resource_config


@dg.job(
    tags={PIPELINE_ID: "pl_crm"},
    resource_defs={"variables": variables, metadata.PIPELINE_RESOURCE: pipeline},
    config={"resources": {"variables": {"config": {"day": "2025-01-01"}}}},
    executor_def=dg.in_process_executor,
)
def crm_to_warehouse() -> None:
    source = node("n_source", type_name="source.postgres")
    middle = node("keep-recent", type_name="transform.filter")
    flaky = node("n_flaky", type_name="destination.postgres", retries=1)
    flaky(middle(source()))


FIGURES["crm_to_warehouse.n_source"] = {
    metadata.ROWS_OUT: 7,
    metadata.BYTES_READ: 70,
    metadata.CPU_SECONDS: 1.25,
    metadata.PEAK_MEMORY_BYTES: 4000,
}
FIGURES["crm_to_warehouse.keep_x2d_recent"] = {
    metadata.ROWS_IN: 7,
    metadata.ROWS_OUT: 5,
    metadata.BYTES_SHUFFLED: 11,
}
FIGURES["crm_to_warehouse.n_flaky"] = {
    metadata.ROWS_IN: 5,
    metadata.BYTES_WRITTEN: 50,
    metadata.CPU_SECONDS: 0.5,
    metadata.PEAK_MEMORY_BYTES: 3000,
}


@dg.job(tags={PIPELINE_ID: "pl_bad"}, executor_def=dg.in_process_executor)
def failing() -> None:
    after = node("n_after", type_name="destination.csv")
    after(node("n_bad", type_name="transform.select")(node("n_source", type_name="source.csv")()))


@dg.job(tags={PIPELINE_ID: "pl_slow"}, executor_def=dg.in_process_executor)
def slow() -> None:
    node("n_after", type_name="destination.csv")(node("n_wait", type_name="source.csv")())


@dg.job(
    tags={PIPELINE_ID: "pl_branches"},
    resource_defs={"variables": variables, metadata.PIPELINE_RESOURCE: pipeline},
    executor_def=dg.in_process_executor,
)
def two_branches() -> None:
    """Two branches of three nodes; the second one fails in the middle, unless the run retries another."""
    node("n_sink", type_name="destination.csv")(
        node("n_keep", type_name="transform.filter")(node("n_left", type_name="source.csv")())
    )
    node("n_after", type_name="destination.csv")(
        node("n_fragile", type_name="transform.select")(node("n_right", type_name="source.csv")())
    )


FIGURES["two_branches.n_left"] = {metadata.ROWS_OUT: 3}


_HOOKED = {"order": str, "amount": float, "urgent": bool, "due": str, "body": str, "shop": str}


@dg.resource(config_schema={name: dg.Field(dg.Noneable(type_), default_value=None) for name, type_ in _HOOKED.items()})
def hooked_variables(context: dg.InitResourceContext) -> Any:
    return context.resource_config


@dg.job(
    tags={PIPELINE_ID: "pl_hooked"},
    resource_defs={"variables": hooked_variables, metadata.PIPELINE_RESOURCE: pipeline},
    executor_def=dg.in_process_executor,
)
def hooked() -> None:
    """A job that webhooks start."""
    node("n_source", type_name="source.csv")()


def sensor(trigger: Mapping[str, Any], *, job_name: str) -> dg.SensorDefinition:
    """A trigger's switch, and nothing that looks at anything, as no daemon runs here."""
    on = trigger.get("enabled", True)
    return dg.SensorDefinition(
        name=encode_name(trigger["id"]),
        job_name=job_name,
        evaluation_fn=lambda _context: dg.SkipReason("nothing to see"),
        default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
    )


@dg.op
def extract() -> int:
    return 1


@dg.op
def clean(rows: int) -> int:
    return rows


@dg.op
def publish(rows: int) -> None:
    pass


@dg.graph
def tidy(rows: int) -> int:
    tidied: int = clean(clean.alias("clean_first")(rows))
    return tidied


@dg.job(executor_def=dg.in_process_executor)
def nightly() -> None:
    """A job that was not compiled from a pipeline."""
    publish(tidy(extract()))


def planned(node: Mapping[str, Any], *, stage: int) -> dict[str, Any]:
    """A node's step in the plan as the code location publishes it."""
    return {
        "nodeId": node["id"],
        "type": node["type"],
        "name": None,
        "stage": stage,
        "storage": "view",
        "reason": "read once",
        "inputs": [{"nodeId": before, "port": "rows"} for before in node.get("after", ())],
        "retries": 0,
        "timeoutSeconds": None,
    }


@dg.op(out=dg.DynamicOut())
def split() -> Iterator[dg.DynamicOutput[int]]:
    for number in (1, 2):
        yield dg.DynamicOutput(number, mapping_key=str(number))


@dg.op
def work_on(context: dg.OpExecutionContext, part: int) -> None:
    context.log.info("part %s", part)


@dg.job(executor_def=dg.in_process_executor)
def fan_out() -> None:
    """A job whose steps are known only once it runs."""
    split().map(work_on)


def published(pipeline_id: str, *, name: str, **document: Any) -> dict[str, Any]:
    """A pipeline as the code location publishes it."""
    graph = {"id": pipeline_id, "name": name, "status": "active", "nodes": [], "edges": [], **document}
    return {
        "id": pipeline_id,
        "name": name,
        "jobName": encode_name(name),
        "version": "0123456789abcdef",
        "updatedAt": "2025-03-01T00:00:00Z",
        "plan": [planned(node, stage=number) for number, node in enumerate(document.get("nodes", ()))],
        "requiredVariables": [name for name, one in document.get("variables", {}).items() if "default" not in one],
        "document": graph,
    }


WEBHOOK_SECRET = "TESTS_WEBHOOK_SECRET"
_WEBHOOK: dict[str, Any] = {"triggerType": "webhook", "config": {"secret": {"env": WEBHOOK_SECRET}}}
TRIGGERS: dict[str, list[dict[str, Any]]] = {
    "hooked": [
        {**_WEBHOOK, "id": "trg_bare"},
        {**_WEBHOOK, "id": "trg_dash-ed", "enabled": False, "name": "Off"},
        {
            "id": "trg_keyless",
            "triggerType": "webhook",
            "enabled": True,
            "config": {"secret": {"env": "TESTS_WEBHOOK_SECRET_THAT_NOBODY_SETS"}},
        },
        {
            **_WEBHOOK,
            "id": "trg_orders",
            "name": "Orders of the shop",
            "enabled": True,
            "variables": {"shop": "main"},
            "config": {
                **_WEBHOOK["config"],
                "eventId": "id",
                "variables": {
                    "order": "order.number",
                    "amount": "order.lines[0].amount",
                    "urgent": "order.urgent",
                    "due": "order.due",
                },
            },
        },
        {**_WEBHOOK, "id": "trg_raw", "config": {**_WEBHOOK["config"], "payloadVariable": "body"}},
        {
            **_WEBHOOK,
            "id": "trg_shop",  # as in docs/webhooks-in.md
            "config": {
                **_WEBHOOK["config"],
                "eventId": "id",
                "variables": {"order": "order.number", "amount": "order.lines[0].amount"},
            },
        },
        {**_WEBHOOK, "id": "trg_test", "environmentId": "env_test"},
    ],
    "slow": [{"id": "trg_files", "triggerType": "file_watcher", "config": {"path": "in", "include": ["*.csv"]}}],
}
PIPELINES = [
    published(
        "pl_crm",
        name="crm_to_warehouse",
        projectId="proj_sales",
        nodes=[{"id": "n_source", "type": "source.postgres", "config": {"table": "public.contacts"}}],
        variables={"day": {"type": "date", "default": "2025-01-01"}, "top": {"type": "integer", "default": 10}},
    ),
    published("pl_bad", name="failing", status="draft", schedules=[{"id": "sch_bad", "cronExpression": "0 2 * * *"}]),
    published(
        "pl_slow",
        name="slow",
        nodes=[
            {"id": "n_wait", "type": "source.csv"},
            {"id": "n_after", "type": "destination.csv", "after": ["n_wait"]},
        ],
        triggers=TRIGGERS["slow"],
    ),
    published(
        "pl_hooked",
        name="hooked",
        createdAt="2025-02-01T09:00:00",
        nodes=[{"id": "n_source", "type": "source.csv"}],
        variables={
            "order": {"default": None},
            "amount": {"type": "number", "default": None},
            "urgent": {"type": "boolean", "default": False},
            "due": {"type": "date", "default": None},
            "body": {"default": None},
            "shop": {"default": None},
        },
        triggers=TRIGGERS["hooked"],
    ),
    published("pl_demanding", name="failing", variables={"region": {"type": "string", "required": True}}),
    published(
        "pl_branches",
        name="two_branches",
        nodes=[
            {"id": "n_left", "type": "source.csv"},
            {"id": "n_keep", "type": "transform.filter", "after": ["n_left"]},
            {"id": "n_sink", "type": "destination.csv", "after": ["n_keep"]},
            {"id": "n_right", "type": "source.csv"},
            {"id": "n_fragile", "type": "transform.select", "after": ["n_right"]},
            {"id": "n_after", "type": "destination.csv", "after": ["n_fragile"]},
        ],
        variables={"day": {"type": "date", "default": "2025-01-01"}},
        schedules=[
            {
                "id": "sch_branches",
                "cronExpression": "30 2 * * *",
                "timezone": "Europe/Berlin",
                "variables": {"day": "{{ ds }}"},
            },
            {"id": "sch_off", "cronExpression": "0 * * * *", "enabled": False, "name": "Hourly", "overlap": "allow"},
        ],
    ),
]
VALUES: dict[str, dict[str, Any]] = {"env_prod": {}, "env_test": {"top": 7}, "env_odd": {"top": "many"}}
ENVIRONMENTS: dict[str, Any] = {
    "variables": {},
    "default": None,
    "environments": [
        {
            "id": environment_id,
            "name": environment_id,
            "variables": values,
            "connections": {},
            "maxConcurrentRuns": None,
            "executor": None,
        }
        for environment_id, values in VALUES.items()
    ],
    "faulty": ["env_faulty"],
    "readable": True,
}
PROBLEMS = [
    {
        "code": "unknown_type",
        "message": "there is no node type 'source.postgre'",
        "file": "broken.yaml",
        "line": 4,
        "column": 11,
        "path": "$.nodes[0].type",
        "hint": "did you mean 'source.postgres'?",
        "pipelineId": "pl_broken",
    }
]


def scheduled(schedule: Mapping[str, Any], *, job_name: str, active: bool) -> dg.ScheduleDefinition:
    """A schedule that fires nothing here: there is no daemon."""
    on = schedule.get("enabled", True) and active
    return dg.ScheduleDefinition(
        name=encode_name(schedule["id"]),
        job_name=job_name,
        cron_schedule=schedule["cronExpression"],
        execution_timezone=schedule.get("timezone", "UTC"),
        default_status=dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED,
    )


SCHEDULES = [
    scheduled(each, job_name=pipeline["jobName"], active=pipeline["document"]["status"] == "active")
    for pipeline in PIPELINES
    for each in pipeline["document"].get("schedules", ())
]


@dg.repository(
    name=metadata.REPOSITORY_NAME,
    metadata={
        metadata.PIPELINES: dg.MetadataValue.json(PIPELINES),
        metadata.PROBLEMS: dg.MetadataValue.json(PROBLEMS),
        metadata.ENVIRONMENTS: dg.MetadataValue.json(ENVIRONMENTS),
    },
)
def planasonix() -> list[Any]:
    sensors = [sensor(trigger, job_name=job) for job, triggers in TRIGGERS.items() for trigger in triggers]
    return [crm_to_warehouse, failing, slow, two_branches, hooked, nightly, *SCHEDULES, *sensors]
