"""Tells the world of runs: a small process that reads Dagster's event log and sends outbound webhooks.

``python -m planasonix_orchestrator.notifier`` runs it; it does not know Dagster. What is to be sent is in Postgres
before the position in the event log moves on, and so survives any end of the process: see `notifier`.
"""
