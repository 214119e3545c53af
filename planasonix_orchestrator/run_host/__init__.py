"""Runs on one machine: a queue, a host that hands each run to a warm process of its own, and a certain end for each.

`dagster.yaml` names `RunQueue` as run coordinator and `RunHostLauncher` as run launcher; both only write to Postgres.
The host (``python -m planasonix_orchestrator.run_host``) does the rest: see `host`.
"""
