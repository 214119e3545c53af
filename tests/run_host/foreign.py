"""A code location that is not of pipelines."""

import time

import dagster as dg


@dg.op(config_schema={"seconds": float})
def rest(context: dg.OpExecutionContext) -> None:
    end = time.monotonic() + context.op_config["seconds"]
    while time.monotonic() < end:
        time.sleep(0.05)


@dg.job(executor_def=dg.in_process_executor)
def nightly() -> None:
    rest()
