"""Dagster's record as the benchmarks of the API read it: a Postgres with very many runs, valid to Dagster too."""
