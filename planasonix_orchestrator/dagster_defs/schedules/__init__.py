"""Schedules of documents as Dagster schedules: one for each, named after it; what is due is found out at each fire."""

from planasonix_orchestrator.dagster_defs.schedules.building import build_schedules

__all__ = ["build_schedules"]
