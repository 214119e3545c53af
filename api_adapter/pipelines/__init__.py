"""The pipelines resource: list, read and start."""
