"""Run control under comparison: whole stacks, ours and Dagster's stock parts, that execute the same pipelines."""
