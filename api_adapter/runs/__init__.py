"""The runs resource: list, read, follow and cancel."""
