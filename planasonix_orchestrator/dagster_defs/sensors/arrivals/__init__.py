"""Triggers on new files and objects: each file, in each version, starts exactly one run."""

from planasonix_orchestrator.dagster_defs.sensors.arrivals.sensor import build_arrivals_sensor

__all__ = ["build_arrivals_sensor"]
