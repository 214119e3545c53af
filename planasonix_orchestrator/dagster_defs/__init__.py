"""Plans become Dagster's objects: one op per node type, one lazily built job per pipeline, one repository."""
