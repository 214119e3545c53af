"""Backfills: a pipeline run once for each slice of a range of time."""
