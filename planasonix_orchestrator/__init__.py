"""Planasonix pipelines compiled into Dagster jobs: documents, nodes, engine, and the stack that runs them."""
