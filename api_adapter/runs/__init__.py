"""The runs resource: list and read."""
