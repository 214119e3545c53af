"""Tests of the API over a real Dagster: real Postgres, real runs, a real code server."""
