"""The data engine: lazy relations over one DuckDB database per run, Arrow in and out, connections."""
